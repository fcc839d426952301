use openarchive_ledger::{
    Hash,
    tree::{NodeId, Range, empty_root, node_hash},
};

/// The complete subtrees that a log decomposes into, largest first: all that is needed to append and to know the root.
/// At most 64 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The subtrees whose hashes [`Frontier::load`] takes, in its order.
    pub(crate) fn nodes(size: u64) -> Vec<NodeId> {
        Range { start: 0, end: size }.nodes()
    }

    /// Takes up a log of `size` leaves; `None` if these cannot be its peaks.
    pub(crate) fn load(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and passes on every complete subtree above level 0 that it ends.
    pub(crate) fn push(&mut self, leaf: Hash, mut completed: impl FnMut(NodeId, Hash)) {
        let mut hash = leaf;
        for level in 1..=self.size.trailing_ones() {
            let left = self.peaks.pop().expect("each one bit of the size has its peak");
            hash = node_hash(&left, &hash);
            completed(NodeId { level: level as u8, index: self.size >> level }, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(last, |right, left| node_hash(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openarchive_ledger::tree::{HashReader as _, LeafHashes, leaf_hash, root_of};

    use super::*;

    #[test]
    fn root_and_completed_subtrees_are_those_of_the_tree_at_every_size() {
        let leaves: Vec<Hash> = (0..200u64).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        let mut nodes = BTreeMap::new();
        for (index, leaf) in leaves.iter().enumerate() {
            assert_eq!(frontier.root(), root_of(&leaves[..index]));
            let known: Vec<Hash> = Frontier::nodes(frontier.size())
                .into_iter()
                .map(|node| if node.level == 0 { leaves[node.index as usize] } else { nodes[&node] })
                .collect();
            assert_eq!(Frontier::load(frontier.size(), known), Some(frontier.clone()));
            frontier.push(*leaf, |node, hash| {
                nodes.insert(node, hash);
            });
        }
        for (node, hash) in &nodes {
            assert_eq!(LeafHashes(&leaves).hash(*node), Ok(*hash), "{node:?}");
        }
        // Every complete subtree of 200 leaves, and no other: 100 + 50 + 25 + 12 + 6 + 3 + 1.
        assert_eq!(nodes.len(), 197);
    }

    #[test]
    fn the_wrong_number_of_peaks_is_refused() {
        assert_eq!(Frontier::load(3, vec![leaf_hash(b"x")]), None);
    }
}
