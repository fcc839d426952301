use openarchive_ledger::tree::{Hash, HashReader, NodeId, TreeError, node_hash};

/// The hashes of all complete subtrees over a row of leaf hashes, computed once: proofs for every leaf cost as much as
/// reading them.
pub(super) struct Subtrees(Vec<Vec<Hash>>);

impl Subtrees {
    pub(super) fn of(leaf_hashes: Vec<Hash>) -> Self {
        let mut levels = vec![leaf_hashes];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let level = below.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(level);
        }
        Self(levels)
    }

    fn leaves(&self) -> u64 {
        self.0.first().map_or(0, Vec::len) as u64
    }
}

impl HashReader for Subtrees {
    type Error = TreeError;

    fn hash(&self, node: NodeId) -> Result<Hash, TreeError> {
        let beyond = TreeError::IndexBeyondTree { index: node.index, size: self.leaves() };
        let level = self.0.get(usize::from(node.level)).ok_or(beyond)?;
        level.get(node.index as usize).copied().ok_or(beyond)
    }
}

#[cfg(test)]
mod tests {
    use openarchive_ledger::tree::{LeafHashes, inclusion_proof, root_at};

    use super::*;

    #[test]
    fn proofs_over_subtrees_are_those_that_are_computed_anew_for_each_leaf() {
        for size in 0..70u64 {
            let hashes: Vec<Hash> = (0..size).map(|i| Hash::of(&i.to_be_bytes())).collect();
            let (plain, subtrees) = (LeafHashes(&hashes), Subtrees::of(hashes.clone()));
            assert_eq!(root_at(size, &subtrees), root_at(size, &plain), "{size}");
            for index in 0..size {
                let expected = inclusion_proof(index, size, &plain);
                assert_eq!(inclusion_proof(index, size, &subtrees), expected, "{index} {size}");
            }
        }
    }
}
