//! Merkle trees as in RFC 6962 section 2.1: hashes, proofs as plans over complete subtrees, and their verification.

mod plan;
mod verify;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub use plan::{Range, consistency_plan, inclusion_plan};
pub use verify::{verify_consistency, verify_inclusion};

use openarchive_domain::{Digest, DigestHasher};

/// A node or leaf hash: SHA-256, 32 bytes.
pub type Hash = Digest;

/// Most hashes that any proof can hold: one for each level of a tree of 2^64 leaves, and one more for consistency.
pub const PROOF_HASHES_MAX: usize = 65;

/// MTH({}): the root of the tree without leaves.
pub fn empty_root() -> Hash {
    Digest::of(&[])
}

/// SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = DigestHasher::default();
    hasher.update(&[0]);
    hasher.update(leaf);
    hasher.finish()
}

/// SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = DigestHasher::default();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// The root over leaf hashes, in order. Also the hash of a complete subtree over hashes of equally complete ones.
pub fn root_of(leaf_hashes: &[Hash]) -> Hash {
    let mut peaks = Peaks::default();
    for hash in leaf_hashes {
        peaks.push(*hash);
    }
    peaks.fold(None).unwrap_or_else(empty_root)
}

/// The roots of the complete subtrees that a row of hashes decomposes into, largest first.
#[derive(Default)]
pub(crate) struct Peaks {
    count: u64,
    hashes: Vec<Hash>,
}

impl Peaks {
    pub(crate) fn push(&mut self, hash: Hash) {
        let mut hash = hash;
        // Each trailing one bit of the count is a complete subtree of the size of the one that just grew.
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.count += 1;
    }

    /// Joins the peaks from the right, starting with what stands to the right of them all.
    pub(crate) fn fold(self, right: Option<Hash>) -> Option<Hash> {
        self.hashes.iter().rev().fold(right, |right, left| match right {
            Some(right) => Some(node_hash(left, &right)),
            None => Some(*left),
        })
    }
}

/// A complete subtree: the leaves `index << level .. (index + 1) << level`. Level 0 is a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    pub level: u8,
    pub index: u64,
}

/// Whoever knows hashes of complete subtrees: tiles in memory, a slice of leaf hashes, a database row.
pub trait HashReader {
    type Error;

    /// The hash of a complete subtree.
    fn hash(&self, node: NodeId) -> Result<Hash, Self::Error>;
}

/// A question that has no answer, or no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexBeyondTree { index: u64, size: u64 },
    #[error("a tree of {new} leaves has not grown from one of {old}")]
    TreeShrank { old: u64, new: u64 },
    #[error("the proof has {found} hashes where {expected} are needed")]
    ProofLength { found: usize, expected: usize },
    #[error("the proof does not lead to the root hash")]
    RootMismatch,
}

/// The inclusion proof of leaf `index` in the tree of the first `size` leaves (RFC 6962 section 2.1.1), leaf's sibling
/// first.
pub fn inclusion_proof<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    assemble(&inclusion_plan(index, size)?, reader).map_err(ProofError::Read)
}

/// The consistency proof between the trees of the first `old` and the first `new` leaves (RFC 6962 section 2.1.2).
/// Empty if they are equal or the old one is empty.
pub fn consistency_proof<R: HashReader>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    assemble(&consistency_plan(old, new)?, reader).map_err(ProofError::Read)
}

/// The root of the tree of the first `size` leaves.
pub fn root_at<R: HashReader>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    if size == 0 { Ok(empty_root()) } else { Range { start: 0, end: size }.hash(reader) }
}

fn assemble<R: HashReader>(plan: &[Range], reader: &R) -> Result<Vec<Hash>, R::Error> {
    plan.iter().map(|range| range.hash(reader)).collect()
}

/// Why no proof could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("a hash that the proof needs cannot be read")]
    Read(#[source] E),
}

/// All leaf hashes of a small tree, as a `HashReader`. Each subtree is computed anew: for tests and offline checks.
#[derive(Debug, Clone, Copy)]
pub struct LeafHashes<'a>(pub &'a [Hash]);

impl HashReader for LeafHashes<'_> {
    type Error = TreeError;

    fn hash(&self, node: NodeId) -> Result<Hash, TreeError> {
        let size = self.0.len() as u64;
        let beyond = TreeError::IndexBeyondTree { index: node.index, size };
        let start =
            node.index.checked_mul(1u64.checked_shl(node.level.into()).ok_or(beyond)?).ok_or(beyond)?;
        let end = start.checked_add(1 << node.level).ok_or(beyond)?;
        self.0.get(start as usize..end as usize).map(root_of).ok_or(beyond)
    }
}
