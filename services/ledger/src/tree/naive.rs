//! RFC 6962 section 2.1 written down literally, over slices and by recursion: the oracle of this module's tests.

use sha2::{Digest as _, Sha256};

type Node = [u8; 32];

fn sha256(parts: &[&[u8]]) -> Node {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The largest power of two smaller than `n`.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH(D[n]).
pub(super) fn mth(d: &[Vec<u8>]) -> Node {
    match d {
        [] => sha256(&[]),
        [leaf] => sha256(&[&[0], leaf]),
        _ => {
            let (left, right) = d.split_at(k(d.len()));
            sha256(&[&[1], &mth(left), &mth(right)])
        }
    }
}

/// PATH(m, D[n]).
pub(super) fn path(m: usize, d: &[Vec<u8>]) -> Vec<Node> {
    if d.len() == 1 {
        return Vec::new();
    }
    let (left, right) = d.split_at(k(d.len()));
    let (mut proof, sibling) =
        if m < left.len() { (path(m, left), mth(right)) } else { (path(m - left.len(), right), mth(left)) };
    proof.push(sibling);
    proof
}

/// PROOF(m, D[n]).
pub(super) fn proof(m: usize, d: &[Vec<u8>]) -> Vec<Node> {
    subproof(m, d, true)
}

fn subproof(m: usize, d: &[Vec<u8>], b: bool) -> Vec<Node> {
    if m == d.len() {
        return if b { Vec::new() } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(k(d.len()));
    let (mut proof, sibling) = if m <= left.len() {
        (subproof(m, left, b), mth(right))
    } else {
        (subproof(m - left.len(), right, false), mth(left))
    };
    proof.push(sibling);
    proof
}
