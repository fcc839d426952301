use proptest::prelude::*;

use super::{naive, *};

/// Largest tree that is checked leaf by leaf: past one full tile, so that every shape of edge occurs.
const SIZE_MAX: usize = 300;

/// The leaves of the Certificate Transparency reference tests.
const CT_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

const CT_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn ct_leaf_hashes() -> Vec<Hash> {
    CT_LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect()
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_string().into_bytes()).collect()
}

fn hashes_of(leaves: &[Vec<u8>]) -> Vec<Hash> {
    leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
}

fn nodes(hashes: Vec<[u8; 32]>) -> Vec<Hash> {
    hashes.into_iter().map(Hash::from_bytes).collect()
}

#[test]
fn roots_are_those_of_the_certificate_transparency_reference() {
    let hashes = ct_leaf_hashes();
    for (size, root) in CT_ROOTS.iter().enumerate() {
        assert_eq!(root_of(&hashes[..size]).hex(), *root, "{size} leaves");
    }
}

#[test]
fn proofs_are_those_of_the_certificate_transparency_reference() {
    let hashes = ct_leaf_hashes();
    let hex = |proof: Vec<Hash>| proof.iter().map(Hash::hex).collect::<Vec<_>>();
    assert_eq!(
        hex(inclusion_proof(5, 8, &LeafHashes(&hashes)).unwrap()),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    assert_eq!(
        hex(consistency_proof(6, 8, &LeafHashes(&hashes)).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_inclusion_proof_up_to_300_leaves_is_the_oracles_and_verifies() {
    let leaves = leaves(SIZE_MAX);
    let hashes = hashes_of(&leaves);
    for size in 1..=SIZE_MAX {
        let root = root_of(&hashes[..size]);
        assert_eq!(*root.as_bytes(), naive::mth(&leaves[..size]));
        // Every index of small trees and of those around a full tile, every seventh of the others.
        let step = if size <= 70 || (250..260).contains(&size) { 1 } else { 7 };
        for index in (0..size).step_by(step) {
            let proof = inclusion_proof(index as u64, size as u64, &LeafHashes(&hashes)).unwrap();
            assert_eq!(proof, nodes(naive::path(index, &leaves[..size])), "{index} of {size}");
            verify_inclusion(&hashes[index], index as u64, size as u64, &proof, &root).unwrap();
        }
    }
}

#[test]
fn every_consistency_proof_up_to_300_leaves_is_the_oracles_and_verifies() {
    let leaves = leaves(SIZE_MAX);
    let hashes = hashes_of(&leaves);
    let roots: Vec<Hash> = (0..=SIZE_MAX).map(|size| root_of(&hashes[..size])).collect();
    for new in 0..=SIZE_MAX {
        let step = if new <= 70 || (250..260).contains(&new) { 1 } else { 7 };
        for old in (0..=new).step_by(step) {
            let proof = consistency_proof(old as u64, new as u64, &LeafHashes(&hashes)).unwrap();
            if old > 0 {
                assert_eq!(proof, nodes(naive::proof(old, &leaves[..new])), "{old} to {new}");
            }
            verify_consistency(old as u64, &roots[old], new as u64, &roots[new], &proof).unwrap();
        }
    }
}

/// Every way to damage a proof at one place.
fn damaged(proof: &[Hash], place: usize, bit: usize) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    if !proof.is_empty() {
        let place = place % proof.len();
        let mut bytes = *proof[place].as_bytes();
        bytes[bit / 8 % 32] ^= 1 << (bit % 8);
        let mut flipped = proof.to_vec();
        flipped[place] = Hash::from_bytes(bytes);
        all.push(flipped);
        let mut shorter = proof.to_vec();
        shorter.remove(place);
        all.push(shorter);
        let mut doubled = proof.to_vec();
        doubled.insert(place, proof[place]);
        all.push(doubled);
        let mut reversed = proof.to_vec();
        reversed.reverse();
        if reversed != proof {
            all.push(reversed);
        }
    }
    all.push([proof, &[empty_root()]].concat());
    all
}

proptest! {
    #[test]
    fn a_damaged_inclusion_proof_never_verifies(
        size in 1..=SIZE_MAX, index in 0..SIZE_MAX, place in 0..64usize, bit in 0..256usize, other in 0..SIZE_MAX,
    ) {
        let index = index % size;
        let hashes = hashes_of(&leaves(size));
        let root = root_of(&hashes);
        let proof = inclusion_proof(index as u64, size as u64, &LeafHashes(&hashes)).unwrap();
        let verify = |leaf: &Hash, index: usize, size: usize, proof: &[Hash], root: &Hash| {
            verify_inclusion(leaf, index as u64, size as u64, proof, root)
        };
        prop_assert_eq!(verify(&hashes[index], index, size, &proof, &root), Ok(()));
        for bad in damaged(&proof, place, bit) {
            prop_assert!(verify(&hashes[index], index, size, &bad, &root).is_err());
        }
        prop_assert!(verify(&empty_root(), index, size, &proof, &root).is_err());
        prop_assert!(verify(&hashes[index], index, size, &proof, &empty_root()).is_err());
        prop_assert!(verify(&hashes[index], size, size, &proof, &root).is_err());
        let other = other % size;
        if other != index {
            prop_assert!(verify(&hashes[index], other, size, &proof, &root).is_err());
        }
    }

    #[test]
    fn a_damaged_consistency_proof_never_verifies(
        new in 1..=SIZE_MAX, old in 1..=SIZE_MAX, place in 0..64usize, bit in 0..256usize,
    ) {
        let old = 1 + old % new;
        let hashes = hashes_of(&leaves(new));
        let (old_root, new_root) = (root_of(&hashes[..old]), root_of(&hashes));
        let (old, new) = (old as u64, new as u64);
        let proof = consistency_proof(old, new, &LeafHashes(&hashes)).unwrap();
        prop_assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        for bad in damaged(&proof, place, bit) {
            prop_assert!(verify_consistency(old, &old_root, new, &new_root, &bad).is_err());
        }
        prop_assert!(verify_consistency(old, &empty_root(), new, &new_root, &proof).is_err());
        prop_assert!(verify_consistency(old, &old_root, new, &empty_root(), &proof).is_err());
        if old != new {
            prop_assert!(verify_consistency(new, &new_root, old, &old_root, &proof).is_err());
        }
    }

    #[test]
    fn no_claim_of_size_or_index_makes_a_verifier_panic(
        index: u64, size: u64, old: u64,
        proof in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..70),
    ) {
        let root = empty_root();
        prop_assert!(verify_inclusion(&root, index, size, &proof, &root).is_err());
        prop_assert!(verify_consistency(old, &root, size, &root, &proof).is_err() || old == 0 || old == size);
    }
}

#[test]
fn a_forked_tree_has_no_consistency_proof() {
    let mut forked = leaves(20);
    forked[3] = b"rewritten".to_vec();
    let (hashes, forked) = (hashes_of(&leaves(10)), hashes_of(&forked));
    let proof = consistency_proof(10, 20, &LeafHashes(&forked)).unwrap();
    assert_eq!(
        verify_consistency(10, &root_of(&hashes), 20, &root_of(&forked), &proof),
        Err(TreeError::RootMismatch)
    );
}

#[test]
fn the_largest_tree_has_proofs_within_the_limit() {
    for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
        assert!(inclusion_plan(index, u64::MAX).unwrap().len() <= PROOF_HASHES_MAX);
    }
    for old in [1, 3, u64::MAX / 3, u64::MAX - 1] {
        assert!(consistency_plan(old, u64::MAX).unwrap().len() <= PROOF_HASHES_MAX);
    }
    assert_eq!(inclusion_plan(7, 7), Err(TreeError::IndexBeyondTree { index: 7, size: 7 }));
    assert_eq!(consistency_plan(8, 7), Err(TreeError::TreeShrank { old: 8, new: 7 }));
}
