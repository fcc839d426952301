//! One test for each lie of a core that the agent must see through.

use super::*;
use crate::{
    commitment::Salt,
    fixtures::{MESSAGE, ORIGIN, TestLog, envelope, message_leaf, signer},
    leaf::stamp,
    note::Signer,
    receipt::Openings,
    tree::{LeafHashes, consistency_proof, leaf_hash},
};

fn expectation() -> Expectation {
    let leaf = message_leaf().0;
    Expectation {
        tenant: leaf.tenant,
        agent: leaf.agent,
        seat: leaf.seat,
        class: leaf.class,
        states: vec![MessageState::Stored, MessageState::Duplicate],
        occurred_at: leaf.occurred_at,
        message: Digest::of(MESSAGE),
        envelope: envelope(),
    }
}

fn check_text(text: &str) -> Result<Checked, ReceiptError> {
    check_receipt(text, &expectation(), &ORIGIN.parse().unwrap(), signer(ORIGIN).verifier())
}

/// A receipt for a leaf that the core chose, in a log that it keeps and signs in good order.
fn check_leaf(leaf: &MessageLeaf, openings: &Openings) -> Result<Checked, ReceiptError> {
    check_text(&TestLog::with(leaf).receipt(openings, &signer(ORIGIN)).to_text())
}

#[test]
fn an_honest_receipt_is_accepted() {
    let (leaf, openings) = message_leaf();
    let log = TestLog::with(&leaf);
    let checked = check_text(&log.receipt(&openings, &signer(ORIGIN)).to_text()).unwrap();
    assert_eq!(checked.checkpoint, log.checkpoint());
    assert_eq!((checked.index, checked.state), (4, MessageState::Stored));
    assert_eq!(checked.time, crate::fixtures::time());
    assert!(check_text(include_str!("../../fixtures/receipt.tlog-proof")).is_ok());
}

#[test]
fn no_proof_is_no_receipt() {
    assert_eq!(check_text(""), Err(ReceiptError::NoProof));
    assert_eq!(check_text(" \n"), Err(ReceiptError::NoProof));
    assert!(matches!(check_text("stored, believe me"), Err(ReceiptError::Malformed(_))));
}

#[test]
fn a_leaf_about_anything_else_than_this_mail_is_named_by_its_field() {
    let check = |field: &'static str, lie: &dyn Fn(&mut MessageLeaf)| {
        let (mut leaf, openings) = message_leaf();
        lie(&mut leaf);
        assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::LeafMismatch { field }));
    };
    check("tenant", &|leaf| leaf.tenant = "other".parse().unwrap());
    check("agent", &|leaf| leaf.agent = "mx2".parse().unwrap());
    check("instance", &|leaf| leaf.seat.instance = [9; 16]);
    check("agent_epoch", &|leaf| leaf.seat.agent_epoch = 7);
    check("seq", &|leaf| leaf.seat.seq = 41);
    check("class", &|leaf| leaf.class = "1d-received-permitted".parse().unwrap());
    check("state", &|leaf| leaf.state = MessageState::Quarantined);
    check("occurred_at", &|leaf| leaf.occurred_at = Timestamp::from_millis(0));
}

#[test]
fn a_leaf_that_commits_to_another_digest_is_a_bad_opening() {
    let (mut leaf, mut openings) = message_leaf();
    (leaf.message, openings.message) =
        Salt::new([3; 32]).commit(Field::Message, Digest::of(b"another mail").as_bytes().to_vec());
    assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::BadOpening { field: Field::Message }));
}

#[test]
fn a_leaf_that_commits_to_another_envelope_is_a_bad_opening() {
    let (mut leaf, mut openings) = message_leaf();
    let mut fewer = envelope();
    fewer.to.pop();
    (leaf.envelope, openings.envelope) = Salt::new([3; 32]).commit(Field::Envelope, fewer.value());
    assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::BadOpening { field: Field::Envelope }));
}

#[test]
fn an_opening_with_another_key_or_another_value_is_a_bad_opening() {
    let (leaf, genuine) = message_leaf();
    let mut openings = genuine.clone();
    openings.message.key = Salt::new([3; 32]).field_key(Field::Message);
    assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::BadOpening { field: Field::Message }));
    // The commitment follows from the agent's own value, but the receipt would show others a value that it does not.
    let mut openings = genuine.clone();
    openings.message.value = vec![0; 32];
    assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::BadOpening { field: Field::Message }));
    let mut openings = genuine;
    openings.envelope.value = b"{}".to_vec();
    assert_eq!(check_leaf(&leaf, &openings), Err(ReceiptError::BadOpening { field: Field::Envelope }));
}

#[test]
fn a_checkpoint_signed_by_a_foreign_key_is_refused() {
    let (leaf, openings) = message_leaf();
    let forger = Signer::new(ORIGIN, &[8; 32]).unwrap();
    let text = TestLog::with(&leaf).receipt(&openings, &forger).to_text();
    assert_eq!(check_text(&text), Err(ReceiptError::ForeignKey));
    let other_name = signer("archive.example.com/main/acme/evidence/2");
    let text = TestLog::with(&leaf).receipt(&openings, &other_name).to_text();
    assert_eq!(check_text(&text), Err(ReceiptError::ForeignKey));
}

#[test]
fn a_key_that_is_not_named_like_the_origin_is_foreign_to_it() {
    let (leaf, openings) = message_leaf();
    let other_name = signer("archive.example.com/main/acme/evidence/2");
    let text = TestLog::with(&leaf).receipt(&openings, &other_name).to_text();
    let result = check_receipt(&text, &expectation(), &ORIGIN.parse().unwrap(), other_name.verifier());
    assert_eq!(result, Err(ReceiptError::ForeignKey));
}

#[test]
fn a_signature_that_does_not_fit_the_checkpoint_is_refused() {
    let (leaf, openings) = message_leaf();
    let mut receipt = TestLog::with(&leaf).receipt(&openings, &signer(ORIGIN));
    receipt.checkpoint_note = receipt.checkpoint_note.replace("\n5\n", "\n6\n");
    assert_eq!(check_text(&receipt.to_text()), Err(ReceiptError::BadSignature));
}

#[test]
fn a_receipt_out_of_another_log_is_refused() {
    let (leaf, openings) = message_leaf();
    for origin in ["archive.example.com/main/other/evidence/1", "archive.example.com/main/acme/evidence/2"] {
        let log = TestLog { origin: origin.parse().unwrap(), ..TestLog::with(&leaf) };
        for key in [signer(origin), signer(ORIGIN)] {
            assert_eq!(check_text(&log.receipt(&openings, &key).to_text()), Err(ReceiptError::WrongOrigin));
        }
    }
}

#[test]
fn a_leaf_that_is_not_in_the_signed_tree_is_refused() {
    let (leaf, openings) = message_leaf();
    let log = TestLog::with(&leaf);
    let genuine = log.receipt(&openings, &signer(ORIGIN));
    let check = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = genuine.clone();
        change(&mut receipt);
        let result = check_text(&receipt.to_text());
        assert!(matches!(result, Err(ReceiptError::BadInclusion(_))), "{result:?}");
    };
    check(&|receipt| receipt.hashes[0] = Digest::of(b""));
    check(&|receipt| receipt.hashes.clear());
    check(&|receipt| receipt.index = 3);
    check(&|receipt| receipt.index = 5);
    // Made for this mail, but never appended.
    check(&|receipt| receipt.leaf = stamp(leaf.body(), Timestamp::from_millis(0)).unwrap());
}

#[test]
fn an_inner_node_is_never_taken_for_a_leaf() {
    let (leaf, openings) = message_leaf();
    let log = TestLog::with(&leaf);
    let mut receipt = log.receipt(&openings, &signer(ORIGIN));
    let hashes = log.hashes();
    receipt.leaf = [hashes[0].as_bytes().as_slice(), hashes[1].as_bytes()].concat();
    assert!(matches!(check_text(&receipt.to_text()), Err(ReceiptError::BadInclusion(_))));
}

fn checkpoint(hashes: &[Hash]) -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: hashes.len() as u64, root: tree::root_of(hashes) }
}

#[test]
fn growth_is_accepted_with_its_proof_and_from_nothing_without() {
    let hashes: Vec<Hash> = (0..9u8).map(|i| leaf_hash(&[i])).collect();
    let new = checkpoint(&hashes);
    assert_eq!(check_growth(None, &new, &[]), Ok(()));
    for old in 0..=9 {
        let proof = consistency_proof(old, 9, &LeafHashes(&hashes)).unwrap();
        assert_eq!(
            check_growth(Some(&checkpoint(&hashes[..old as usize])), &new, &proof),
            Ok(()),
            "from {old}"
        );
    }
}

#[test]
fn an_older_checkpoint_is_a_rollback() {
    let hashes: Vec<Hash> = (0..9u8).map(|i| leaf_hash(&[i])).collect();
    let result = check_growth(Some(&checkpoint(&hashes)), &checkpoint(&hashes[..5]), &[]);
    assert_eq!(result, Err(GrowthError::OlderCheckpoint { old: 9, new: 5 }));
}

#[test]
fn another_history_of_the_same_or_a_larger_size_is_a_fork() {
    let hashes: Vec<Hash> = (0..9u8).map(|i| leaf_hash(&[i])).collect();
    let mut forked = hashes.clone();
    forked[2] = leaf_hash(b"rewritten");
    for old in [3usize, 4, 7, 9] {
        let proof = consistency_proof(old as u64, 9, &LeafHashes(&forked)).unwrap();
        let result = check_growth(Some(&checkpoint(&hashes[..old])), &checkpoint(&forked), &proof);
        assert_eq!(result, Err(GrowthError::ForkedTree { old: old as u64, new: 9 }));
    }
}

#[test]
fn growth_without_its_proof_or_of_another_log_is_refused() {
    let hashes: Vec<Hash> = (0..9u8).map(|i| leaf_hash(&[i])).collect();
    let (old, new) = (checkpoint(&hashes[..4]), checkpoint(&hashes));
    assert_eq!(check_growth(Some(&old), &new, &[]), Err(GrowthError::ForkedTree { old: 4, new: 9 }));
    let other = Checkpoint { origin: "archive.example.com/main/acme/audit/1".to_owned(), ..new };
    assert_eq!(check_growth(Some(&old), &other, &[]), Err(GrowthError::OtherLog));
}
