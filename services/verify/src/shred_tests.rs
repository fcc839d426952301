//! Shred certificates: the ledger's committed vector, and what is said of each way to break it.

use insta::assert_snapshot;
use openarchive_ledger::{
    leaf_proof::LeafProof, note::Signer, receipt::Receipt, shred_certificate::ShredCertificate,
};

use super::*;

const CERTIFICATE: &str = include_str!("../../ledger/fixtures/shred-certificate.json");
const POLICY: &str = include_str!("../../ledger/fixtures/trust.policy");
/// Of the same mail and the same log, but of a leaf that the order does not name.
const RECEIPT: &str = include_str!("../../ledger/fixtures/receipt.tlog-proof");

/// Of the mail's leaf that the certificate shows first: what the mail's owner kept.
fn own_receipt() -> String {
    let LeafProof { leaf, index, hashes, checkpoint_note } =
        ShredCertificate::parse(CERTIFICATE).unwrap().observations.swap_remove(0);
    let openings = Receipt::parse(RECEIPT).unwrap().openings;
    Receipt { leaf, openings, index, hashes, checkpoint_note }.to_text()
}

fn changed(change: impl FnOnce(&mut ShredCertificate)) -> String {
    let mut certificate = ShredCertificate::parse(CERTIFICATE).unwrap();
    change(&mut certificate);
    certificate.to_text()
}

fn check(certificate: &str, policy: &str, receipt: Option<&str>, codes: &[&str]) {
    let report = verify_shred(certificate, Some(policy), receipt);
    let found: Vec<&str> = report.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(found, codes, "{report}");
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Failed, 3));
    assert!(report.proved().is_none());
}

#[test]
fn the_committed_certificate_verifies_under_its_policy_with_a_receipt() {
    let report = verify_shred(CERTIFICATE, Some(POLICY), Some(&own_receipt()));
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Verified, 0));
    assert_snapshot!(report, @r"
    verified
      message   sha256:574b2ba208a13a90aef3ab080eddaecf1a8d4c4a4941bbaf97483a7d4b322f27
                shown by the receipt to be leaf 4
      log       archive.example.com/main/acme/evidence/1
      order     07070707-0707-0707-0707-070707070707 for erasure, by tok-1
                leaf 8 in a tree of 9 leaves
      ordered   2026-01-02T03:04:05.678Z by the archive's own clock, not time-stamped
      shredded  2026-01-02T03:04:05.678Z, which nothing signs
      leaf      4: accepted 2026-01-02T03:04:00.000Z by agent acme/mx1
      leaf      6: accepted 2026-01-02T03:04:00.000Z by agent acme/mx1
      keys      2 destroyed, of this message and others of the order
    ");
    let json = report.to_json();
    assert_eq!(json["proved"]["order"]["cause"], "erasure");
    assert_eq!(json["proved"]["observations"], serde_json::json!(["4", "6"]));
    assert_eq!(json["proved"]["identified_by_receipt"], true);
}

#[test]
fn without_a_policy_or_a_receipt_it_is_consistent_but_not_anchored() {
    let receipt = own_receipt();
    for (policy, receipt, missing) in [
        (None, Some(&*receipt), &[SENTENCE_SHRED_NOT_ANCHORED][..]),
        (Some(POLICY), None, &[SENTENCE_NOT_IDENTIFIED]),
        (None, None, &[SENTENCE_SHRED_NOT_ANCHORED, SENTENCE_NOT_IDENTIFIED]),
    ] {
        let report = verify_shred(CERTIFICATE, policy, receipt);
        assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::ConsistentNotAnchored, 4));
        let found: Vec<&str> = report.findings().iter().map(|finding| &*finding.sentence).collect();
        assert_eq!(found, missing);
        assert_eq!(report.to_json()["proved"]["identified_by_receipt"], receipt.is_some());
    }
}

#[test]
fn every_damage_to_a_certificate_fails_and_is_named() {
    check("", POLICY, None, &["certificate_unreadable"]);
    check(RECEIPT, POLICY, None, &["certificate_unreadable"]);
    check(CERTIFICATE, "", None, &["policy_unreadable"]);
    let other = Signer::new("archive.example.com/main/acme/evidence/1", &[8; 32]).unwrap();
    let policy = format!("log {}\nquorum none\n", other.verifier());
    check(CERTIFICATE, &policy, None, &["checkpoint_key_foreign"]);
    check(&changed(|c| c.order.leaf.push(b' ')), POLICY, None, &["leaf_not_in_tree", "proof_unreadable"]);
    check(&changed(|c| c.order.hashes[0] = Digest::of(b"")), POLICY, None, &["leaf_not_in_tree"]);
    // A leaf of a message stands where the order should: proven, but no order.
    let no_order = |c: &mut ShredCertificate| c.order = c.observations[0].clone();
    check(&changed(no_order), POLICY, None, &["proof_unreadable"]);
    let larger = |proof: &mut LeafProof| {
        proof.checkpoint_note = proof.checkpoint_note.replace("\n9\n", "\n10\n");
    };
    check(
        &changed(|c| larger(&mut c.order)),
        POLICY,
        None,
        &["checkpoint_signature_bad", "leaf_not_in_tree"],
    );
    check(&changed(|c| larger(&mut c.observations[0])), POLICY, None, &["leaf_not_in_tree"]);
    check(&changed(|c| c.observations[0].hashes[0] = Digest::of(b"")), POLICY, None, &["leaf_not_in_tree"]);
    check(&changed(|c| c.observations.swap(0, 1)), POLICY, None, &["leaves_disordered"]);
    check(
        &changed(|c| c.observations[0] = c.order.clone()),
        POLICY,
        None,
        &["leaves_disordered", "leaf_not_ordered", "leaf_not_in_tree"],
    );
    let early = |c: &mut ShredCertificate| c.shredded_at = "2025-12-31T00:00:00.000Z".parse().unwrap();
    check(&changed(early), POLICY, None, &["shredded_before_order"]);
    check(CERTIFICATE, POLICY, Some(RECEIPT), &["receipt_elsewhere"]);
    check(CERTIFICATE, POLICY, Some(""), &["proof_unreadable"]);
    check(&changed(|c| c.message = Digest::of(b"other")), POLICY, Some(RECEIPT), &["message_differs"]);
}
