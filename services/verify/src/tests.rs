//! The verifier against the ledger's committed vectors, and against each way to break them.

use insta::assert_snapshot;
use openarchive_ledger::{
    checkpoint::Checkpoint,
    commitment::{Field, Salt},
    leaf::{Envelope, MessageLeaf, stamp},
    note::Signer,
    receipt::Receipt,
    tree::{leaf_hash, root_of},
};

use super::*;

const MESSAGE: &[u8] = include_bytes!("../../ledger/fixtures/message.eml");
const PROOF: &str = include_str!("../../ledger/fixtures/receipt.tlog-proof");
const POLICY: &str = include_str!("../../ledger/fixtures/trust.policy");

fn digest() -> Digest {
    Digest::of(MESSAGE)
}

/// The codes of what is found about a proof that a test has tampered with; the outcome must be a failure.
fn check(proof: &str, policy: &str, codes: &[&str]) {
    let report = verify_message(digest(), proof, Some(policy));
    let found: Vec<&str> = report.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(found, codes, "{report}");
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Failed, 3));
    assert!(report.proved().is_none());
}

fn changed(change: impl FnOnce(&mut Receipt)) -> String {
    let mut receipt = Receipt::parse(PROOF).unwrap();
    change(&mut receipt);
    receipt.to_text()
}

#[test]
fn the_committed_proof_verifies_under_its_policy() {
    let report = verify_message(digest(), PROOF, Some(POLICY));
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Verified, 0));
    assert_snapshot!(report, @r"
    verified
      message   sha256:574b2ba208a13a90aef3ab080eddaecf1a8d4c4a4941bbaf97483a7d4b322f27
      log       archive.example.com/main/acme/evidence/1
      leaf      number 2 in a tree of 3 leaves
      appended  2026-01-02T03:04:05.678Z by the archive's own clock, not time-stamped
      accepted  2026-01-02T03:04:00.000Z by agent acme/mx1
      number    42 of instance 00010203-0405-0607-0809-0a0b0c0d0e0f epoch 18446744073709551615
      state     stored, kept as 10y-received-forbidden
      from      <a@example.com>
      to        <b@example.org>
      to        <ü@example.org>
      received  from peer mx in mode plain
    ");
    assert_eq!(report.proved().unwrap().receipt().index, 2);
}

#[test]
fn without_a_policy_the_same_proof_is_consistent_but_not_anchored() {
    let report = verify_message(digest(), PROOF, None);
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::ConsistentNotAnchored, 4));
    assert_snapshot!(report, @r"
    consistent but not anchored
      - No policy was given, so no signature was checked: message, leaf and tree agree with each other, but anybody could have made such a proof.
      message   sha256:574b2ba208a13a90aef3ab080eddaecf1a8d4c4a4941bbaf97483a7d4b322f27
      log       archive.example.com/main/acme/evidence/1
      leaf      number 2 in a tree of 3 leaves
      appended  2026-01-02T03:04:05.678Z by the archive's own clock, not time-stamped
      accepted  2026-01-02T03:04:00.000Z by agent acme/mx1
      number    42 of instance 00010203-0405-0607-0809-0a0b0c0d0e0f epoch 18446744073709551615
      state     stored, kept as 10y-received-forbidden
      from      <a@example.com>
      to        <b@example.org>
      to        <ü@example.org>
      received  from peer mx in mode plain
    ");
}

#[test]
fn a_report_for_programs_holds_the_same() {
    let report = verify_message(digest(), PROOF, Some(POLICY)).to_json();
    let expected = serde_json::json!({
      "exit_code": 0,
      "findings": [],
      "message": "sha256:574b2ba208a13a90aef3ab080eddaecf1a8d4c4a4941bbaf97483a7d4b322f27",
      "outcome": "verified",
      "proved": {
        "agent": "mx1",
        "agent_epoch": "18446744073709551615",
        "appended_at": "2026-01-02T03:04:05.678Z",
        "class": "10y-received-forbidden",
        "envelope": {
          "from": "a@example.com",
          "mode": "plain",
          "peer": "mx",
          "to": [
            "b@example.org",
            "ü@example.org"
          ]
        },
        "index": 2,
        "instance": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "log": "archive.example.com/main/acme/evidence/1",
        "occurred_at": "2026-01-02T03:04:00.000Z",
        "seq": "42",
        "state": "stored",
        "tenant": "acme",
        "time_stamped": false,
        "tree_root": "sha256:5965323104419552f8072c5cd2c4e2657dff0795b1e8430ba4a15a3948cfa804",
        "tree_size": 3,
        "witnesses": []
      }
    });
    assert_eq!(report, expected);
    let failed = verify_message(Digest::of(b"other"), PROOF, Some(POLICY)).to_json();
    let expected = serde_json::json!({
      "exit_code": 3,
      "findings": [
        {
          "code": "message_differs",
          "sentence": "The message is not the one that was archived: its SHA-256 differs from the one in the proof. Changed line endings alone are enough for that; take the file as the archive gave it out."
        }
      ],
      "message": "sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa",
      "outcome": "failed",
      "proved": null
    });
    assert_eq!(failed, expected);
}

#[test]
fn each_broken_thing_is_named_in_a_sentence() {
    let proof = changed(|receipt| {
        receipt.hashes[0] = Digest::of(b"");
        receipt.openings.envelope.key = Salt::new([0; 32]).field_key(Field::Envelope);
    });
    let other_key = Signer::new("archive.example.com/main/acme/evidence/1", &[8; 32]).unwrap();
    let policy = format!("log {}\nquorum none\n", other_key.verifier());
    let report = verify_message(Digest::of(b"other"), &proof, Some(&policy));
    assert_snapshot!(report, @r"
    failed
      - The checkpoint is not one that the policy accepts: it carries no signature of the log's key in the policy.
      - The leaf is not in the tree that the checkpoint commits to: the proof does not lead to the root hash.
      - The message is not the one that was archived: its SHA-256 differs from the one in the proof. Changed line endings alone are enough for that; take the file as the archive gave it out.
      - What the proof shows as the envelope is not what the leaf commits to.
      message   sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa
    ");
}

#[test]
fn changed_line_endings_make_another_message() {
    let text = std::str::from_utf8(MESSAGE).unwrap().replace("\r\n", "\n");
    let report = verify_message(Digest::of(text.as_bytes()), PROOF, Some(POLICY));
    assert_eq!(report.findings()[0].code, "message_differs");
    assert!(report.findings()[0].sentence.contains("line endings"));
}

#[test]
fn every_damage_to_a_proof_fails_and_is_named() {
    check("", POLICY, &["proof_unreadable"]);
    check(&PROOF.replace("index 2", "index 02"), POLICY, &["proof_unreadable"]);
    check(&changed(|r| r.checkpoint_note.truncate(40)), POLICY, &["proof_unreadable"]);
    check(&changed(|r| r.index = 1), POLICY, &["leaf_not_in_tree"]);
    check(&changed(|r| r.hashes[0] = Digest::of(b"")), POLICY, &["leaf_not_in_tree"]);
    let re_stated = |r: &mut Receipt| {
        r.leaf = String::from_utf8(r.leaf.clone()).unwrap().replace("stored", "duplicate").into_bytes();
    };
    check(&changed(re_stated), POLICY, &["leaf_not_in_tree"]);
    check(&changed(|r| r.leaf.push(b' ')), POLICY, &["leaf_not_in_tree", "proof_unreadable"]);
    let other_key = |r: &mut Receipt| r.openings.message.key = Salt::new([0; 32]).field_key(Field::Message);
    check(&changed(other_key), POLICY, &["message_opening_bad"]);
    let fewer = |r: &mut Receipt| {
        let mut envelope = Envelope::parse(&r.openings.envelope.value).unwrap();
        envelope.to.pop();
        r.openings.envelope.value = envelope.value();
    };
    check(&changed(fewer), POLICY, &["envelope_opening_bad"]);
    check(
        &changed(|r| r.openings.envelope.value = b"x".to_vec()),
        POLICY,
        &["envelope_opening_bad", "envelope_unreadable"],
    );
    let larger = |r: &mut Receipt| r.checkpoint_note = r.checkpoint_note.replace("\n3\n", "\n4\n");
    check(&changed(larger), POLICY, &["checkpoint_signature_bad", "leaf_not_in_tree"]);
    let renamed = |r: &mut Receipt| r.checkpoint_note = r.checkpoint_note.replace("/1\n3\n", "/2\n3\n");
    check(&changed(renamed), POLICY, &["log_not_trusted"]);
    let not_ours = |r: &mut Receipt| {
        r.checkpoint_note =
            r.checkpoint_note.replace("archive.example.com/main/acme/evidence/1", "elsewhere");
    };
    check(&changed(not_ours), POLICY, &["log_not_trusted", "origin_unknown"]);
}

#[test]
fn a_policy_that_trusts_others_or_nobody_fails() {
    let other = Signer::new("archive.example.com/main/acme/evidence/1", &[8; 32]).unwrap();
    let key = POLICY.lines().next().unwrap();
    check(PROOF, &format!("log {}\nquorum none\n", other.verifier()), &["checkpoint_key_foreign"]);
    check(PROOF, "quorum none\n", &["log_not_trusted"]);
    check(PROOF, "", &["policy_unreadable"]);
    check(PROOF, key, &["policy_unreadable"]);
    let witness = "witness.example/w+6b2b3a2d+BA==";
    check(PROOF, &format!("{key}\nwitness W {witness}\nquorum W\n"), &["policy_unreadable"]);
}

#[test]
fn a_quorum_without_cosignatures_is_not_met() {
    // Any Ed25519 key serves as a witness that has signed nothing.
    let idle = Signer::new("witness.example/w", &[5; 32]).unwrap();
    let witness =
        openarchive_ledger::cosignature::WitnessKey::new("witness.example/w", idle.verifier().public_key())
            .unwrap();
    let key = POLICY.lines().next().unwrap();
    check(PROOF, &format!("{key}\nwitness W {witness}\nquorum W\n"), &["quorum_not_met"]);
    let report = verify_message(digest(), PROOF, Some(&format!("{key}\nwitness W {witness}\nquorum none\n")));
    assert_eq!(report.outcome(), Outcome::Verified);
}

#[test]
fn a_whole_log_made_by_a_forger_is_consistent_at_best() {
    let genuine = Receipt::parse(PROOF).unwrap();
    let forger = Signer::new("archive.example.com/main/acme/evidence/1", &[8; 32]).unwrap();
    let forged_message = b"From: someone@example.com\r\n\r\nNever sent.\r\n";
    let leaf = MessageLeaf::parse(&genuine.leaf).unwrap();
    let (message, opening) =
        Salt::new([4; 32]).commit(Field::Message, Digest::of(forged_message).as_bytes().to_vec());
    let leaf = stamp(MessageLeaf { message, ..leaf.leaf }.body(), leaf.time).unwrap();
    let root = root_of(&[leaf_hash(&leaf)]);
    let checkpoint = Checkpoint { origin: forger.name().to_owned(), size: 1, root };
    let mut forged = genuine;
    forged.checkpoint_note = checkpoint.sign(&forger).unwrap().to_string();
    (forged.leaf, forged.index, forged.hashes, forged.openings.message) = (leaf, 0, Vec::new(), opening);
    let text = forged.to_text();
    let outcome = |policy| verify_message(Digest::of(forged_message), &text, policy).outcome();
    assert_eq!(outcome(None), Outcome::ConsistentNotAnchored);
    assert_eq!(outcome(Some(POLICY)), Outcome::Failed);
}

#[test]
fn foreign_text_cannot_steer_the_readers_terminal() {
    let genuine = Receipt::parse(PROOF).unwrap();
    let leaf = MessageLeaf::parse(&genuine.leaf).unwrap();
    let hostile = Envelope {
        from: "\u{1b}[2Jverified\u{7}\u{202e}".to_owned(),
        to: vec!["\u{9b}1A\r\n".to_owned()],
        ..Envelope::parse(&genuine.openings.envelope.value).unwrap()
    };
    let (envelope, opening) = Salt::new([4; 32]).commit(Field::Envelope, hostile.value());
    let mut receipt = genuine;
    receipt.leaf = stamp(MessageLeaf { envelope, ..leaf.leaf }.body(), leaf.time).unwrap();
    receipt.openings.envelope = opening;
    let signer = Signer::new("archive.example.com/main/acme/evidence/1", &[8; 32]).unwrap();
    let root = root_of(&[leaf_hash(&receipt.leaf)]);
    let checkpoint = Checkpoint { origin: signer.name().to_owned(), size: 1, root };
    receipt.checkpoint_note = checkpoint.sign(&signer).unwrap().to_string();
    (receipt.index, receipt.hashes) = (0, Vec::new());
    let report = verify_message(digest(), &receipt.to_text(), None);
    assert_eq!(report.outcome(), Outcome::ConsistentNotAnchored);
    assert!(report.to_string().chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')));
}
