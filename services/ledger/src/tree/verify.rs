//! Verification of proofs, after RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the same trees as RFC 6962).

use super::{Hash, TreeError, empty_root, inclusion_plan, node_hash};

/// Checks that a leaf with `leaf_hash` stands at `index` in the tree of `size` leaves with this `root`.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    let expected = inclusion_plan(index, size)?.len();
    if proof.len() != expected {
        return Err(TreeError::ProofLength { found: proof.len(), expected });
    }
    let (mut position, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            // A right edge without siblings of its own: go up to where it is a right child.
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    // The length was checked against the plan, so the climb ends at the root; checked here a second time.
    if last == 0 && hash == *root { Ok(()) } else { Err(TreeError::RootMismatch) }
}

/// Checks that the tree of `old_size` leaves is a prefix of the one of `new_size`. The empty tree is a prefix of any.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), TreeError> {
    if old_size > new_size {
        return Err(TreeError::TreeShrank { old: old_size, new: new_size });
    }
    if old_size == 0 || old_size == new_size {
        let known = if old_size == new_size { *new_root } else { empty_root() };
        return match proof.len() {
            0 if *old_root == known => Ok(()),
            0 => Err(TreeError::RootMismatch),
            found => Err(TreeError::ProofLength { found, expected: 0 }),
        };
    }
    // An old tree of a power of two is itself a node of the new one, and its root opens the proof.
    let (first, rest) = if old_size.is_power_of_two() {
        (*old_root, proof)
    } else {
        let Some((first, rest)) = proof.split_first() else {
            return Err(TreeError::ProofLength { found: 0, expected: 1 });
        };
        (*first, rest)
    };
    let climb = (old_size - 1).trailing_ones();
    let (mut position, mut last) = ((old_size - 1) >> climb, (new_size - 1) >> climb);
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(TreeError::RootMismatch);
        }
        if position & 1 == 1 || position == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(TreeError::RootMismatch)
    }
}
