//! Shred certificates: the ledger's committed vector, and what is said of each way to break it.

use insta::assert_snapshot;
use openarchive_ledger::{leaf_proof::LeafProof, note::Signer, shred_certificate::ShredCertificate};

use super::*;

const CERTIFICATE: &str = include_str!("../../ledger/fixtures/shred-certificate.json");
const POLICY: &str = include_str!("../../ledger/fixtures/trust.policy");
/// Of the same mail and the same log, but of a leaf that the order does not name.
const RECEIPT: &str = include_str!("../../ledger/fixtures/receipt.tlog-proof");

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
fn the_committed_certificate_verifies_under_its_policy() {
    let report = verify_shred(CERTIFICATE, Some(POLICY), None);
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Verified, 0));
    assert_snapshot!(report, @r"
    verified
      message   sha256:574b2ba208a13a90aef3ab080eddaecf1a8d4c4a4941bbaf97483a7d4b322f27
                which message it was is the word of whoever made this file, for nothing signs it: a receipt from before the shredding would prove it
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
    assert_eq!(json["proved"]["identified_by_receipt"], false);
}

#[test]
fn without_a_policy_it_is_consistent_but_not_anchored() {
    let report = verify_shred(CERTIFICATE, None, None);
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::ConsistentNotAnchored, 4));
    assert_eq!(report.findings()[0].sentence, SENTENCE_SHRED_NOT_ANCHORED);
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
