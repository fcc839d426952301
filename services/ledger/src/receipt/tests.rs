use openarchive_domain::Digest;
use proptest::prelude::*;

use super::*;
use crate::{
    commitment::{Field, Salt},
    fixtures::{MESSAGE, ORIGIN, TestLog, envelope, message_leaf, signer, time},
    leaf::{Envelope, PackLeaf, stamp},
    origin::Origin,
    policy::{Policy, PolicyFailure},
    tree::TreeError,
};

const VECTOR: &str = include_str!("../../fixtures/receipt.tlog-proof");

fn policy() -> Policy {
    Policy::of_logs(vec![signer(ORIGIN).verifier().clone()])
}

/// A genuine receipt whose parts a test then changes.
fn receipt() -> Receipt {
    let (leaf, openings) = message_leaf();
    TestLog::with(&leaf).receipt(&openings, &signer(ORIGIN))
}

fn verify(receipt: &Receipt) -> Result<Verified, Vec<Failure>> {
    verify_receipt(&receipt.to_text(), Some(&policy()), &Digest::of(MESSAGE))
}

/// Exactly these failures, whether or not a policy is given.
fn check(receipt: &Receipt, failures: &[Failure]) {
    assert_eq!(verify(receipt).unwrap_err(), failures);
    let without = verify_receipt(&receipt.to_text(), None, &Digest::of(MESSAGE)).unwrap_err();
    assert_eq!(without, failures);
}

#[test]
fn the_committed_receipt_reads_back_and_verifies() {
    let receipt = Receipt::parse(VECTOR).unwrap();
    assert_eq!(receipt.to_text(), VECTOR);
    assert_eq!(receipt.openings, message_leaf().1);
    let verified = verify_receipt(VECTOR, Some(&policy()), &Digest::of(MESSAGE)).unwrap();
    assert_eq!((verified.index, verified.checkpoint.size), (2, 3));
    assert_eq!(verified.origin.to_string(), ORIGIN);
    assert_eq!(verified.leaf, message_leaf().0);
    assert_eq!(verified.time, time());
    assert_eq!(verified.envelope, envelope());
}

#[test]
fn a_genuine_receipt_verifies_with_and_without_a_policy() {
    let verified = verify(&receipt()).unwrap();
    let without = verify_receipt(&receipt().to_text(), None, &Digest::of(MESSAGE)).unwrap();
    assert_eq!(verified, without);
}

#[test]
fn another_message_is_named_and_nothing_else() {
    let failures = verify_receipt(&receipt().to_text(), Some(&policy()), &Digest::of(b"other")).unwrap_err();
    assert_eq!(failures, [Failure::OtherMessage]);
}

#[test]
fn a_foreign_key_and_an_unknown_log_are_named_by_the_policy() {
    let (leaf, openings) = message_leaf();
    let log = TestLog::with(&leaf);
    let forger = crate::note::Signer::new(ORIGIN, &[8; 32]).unwrap();
    let failures = verify(&log.receipt(&openings, &forger)).unwrap_err();
    assert_eq!(failures, [Failure::Policy(PolicyFailure::ForeignKey)]);
    let other_log = TestLog { origin: "archive.example.com/main/acme/evidence/2".parse().unwrap(), ..log };
    let failures = verify(&other_log.receipt(&openings, &signer(ORIGIN))).unwrap_err();
    assert_eq!(failures, [Failure::Policy(PolicyFailure::UnknownLog)]);
}

#[test]
fn a_changed_leaf_index_or_proof_is_not_in_the_tree() {
    let mut changed = receipt();
    changed.hashes[0] = Digest::of(b"");
    check(&changed, &[Failure::Inclusion(TreeError::RootMismatch)]);
    let mut beyond = receipt();
    beyond.index = 5;
    check(&beyond, &[Failure::Inclusion(TreeError::IndexBeyondTree { index: 5, size: 5 })]);
    let mut short = receipt();
    short.hashes.pop();
    check(&short, &[Failure::Inclusion(TreeError::ProofLength { found: 0, expected: 1 })]);
    let mut rewritten = receipt();
    rewritten.leaf = String::from_utf8(rewritten.leaf).unwrap().replace("stored", "duplicate").into_bytes();
    check(&rewritten, &[Failure::Inclusion(TreeError::RootMismatch)]);
}

#[test]
fn each_wrong_opening_is_named() {
    let mut wrong_key = receipt();
    wrong_key.openings.message.key = Salt::new([9; 32]).field_key(Field::Message);
    check(&wrong_key, &[Failure::Opening(Field::Message)]);
    let mut wrong_digest = receipt();
    wrong_digest.openings.message.value = Digest::of(b"other").as_bytes().to_vec();
    check(&wrong_digest, &[Failure::Opening(Field::Message), Failure::OtherMessage]);
    let mut wrong_envelope = receipt();
    let other = Envelope { to: vec!["c@example.org".to_owned()], ..envelope() };
    wrong_envelope.openings.envelope.value = other.value();
    check(&wrong_envelope, &[Failure::Opening(Field::Envelope)]);
    let mut no_envelope = receipt();
    no_envelope.openings.envelope.value = b"{}".to_vec();
    check(&no_envelope, &[Failure::Opening(Field::Envelope), Failure::Envelope]);
}

#[test]
fn every_broken_thing_is_named_at_once() {
    let mut broken = receipt();
    broken.hashes[0] = Digest::of(b"");
    broken.openings.envelope.key = FieldKey::new([0; 32]);
    let failures = verify_receipt(&broken.to_text(), Some(&policy()), &Digest::of(b"other")).unwrap_err();
    let expected = [
        Failure::Inclusion(TreeError::RootMismatch),
        Failure::OtherMessage,
        Failure::Opening(Field::Envelope),
    ];
    assert_eq!(failures, expected);
}

#[test]
fn a_leaf_in_a_log_where_it_does_not_belong_is_named() {
    let (leaf, openings) = message_leaf();
    for origin in [
        "archive.example.com/main/other/evidence/1",
        "archive.example.com/main/acme/audit/1",
        "archive.example.com/main/_/evidence/1",
    ] {
        let log = TestLog { origin: origin.parse::<Origin>().unwrap(), ..TestLog::with(&leaf) };
        let text = log.receipt(&openings, &signer(origin)).to_text();
        let policy = Policy::of_logs(vec![signer(origin).verifier().clone()]);
        let failures = verify_receipt(&text, Some(&policy), &Digest::of(MESSAGE)).unwrap_err();
        assert_eq!(failures, [Failure::OtherLog], "{origin}");
    }
}

#[test]
fn a_leaf_of_another_kind_is_no_receipt_for_a_message() {
    let (leaf, openings) = message_leaf();
    let mut log = TestLog::with(&leaf);
    let pack = PackLeaf {
        tenant: leaf.tenant.into(),
        class: leaf.class,
        pack: [1; 16],
        sha256: Digest::of(b""),
        version_id: "1".to_owned(),
    };
    log.leaves.push(stamp(pack.body(), time()).unwrap());
    let error = LeafError::OtherKind { expected: "message" };
    check(&log.receipt(&openings, &signer(ORIGIN)), &[Failure::Malformed(ReceiptFormatError::Leaf(error))]);
}

#[test]
fn an_extra_line_of_any_other_form_is_refused() {
    let extra = |json: &str| {
        let proof = TlogProof { extra: json.as_bytes().to_vec(), ..TlogProof::parse(VECTOR).unwrap() };
        Receipt::parse(&proof.to_string()).unwrap_err()
    };
    let genuine = String::from_utf8(TlogProof::parse(VECTOR).unwrap().extra).unwrap();
    for bad in ["", "{}", "[]", "\u{0}"] {
        assert_eq!(extra(bad), ReceiptFormatError::Extra, "{bad:?}");
    }
    for (from, to) in [
        (r#"{"leaf""#, r#"{ "leaf""#),
        (r#"{"leaf""#, r#"{"a":1,"leaf""#),
        ("\"leaf\"", "\"Leaf\""),
        ("\"message\"", "\"object\""),
        ("\"key\":\"", "\"key\":\"="),
    ] {
        let changed = genuine.replacen(from, to, 1);
        assert_ne!(changed, genuine);
        assert_eq!(extra(&changed), ReceiptFormatError::Extra, "{from}");
    }
}

proptest! {
    #[test]
    fn any_one_changed_byte_of_a_receipt_is_noticed(place in 0..VECTOR.len(), byte in 0x20..0x7fu8) {
        let mut bytes = VECTOR.as_bytes().to_vec();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            // A change within a signature of an unknown key id makes the log's own signature vanish: also a failure.
            prop_assert!(verify_receipt(&text, Some(&policy()), &Digest::of(MESSAGE)).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_verifier_panic(text: String) {
        prop_assert!(verify_receipt(&text, None, &Digest::of(MESSAGE)).is_err());
    }
}
