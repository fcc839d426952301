use openarchive_domain::Seat;
use proptest::prelude::*;

use super::*;
use crate::{
    fixtures::{MESSAGE, ORIGIN, TestLog, message_leaf, signer, time},
    leaf::{PackLeaf, ShredCause, ShredLeaf, stamp},
    receipt::Receipt,
    tree::{LeafHashes, inclusion_proof},
};

const VECTOR: &str = include_str!("../../fixtures/shred-certificate.json");

fn policy() -> Policy {
    Policy::of_logs(vec![signer(ORIGIN).verifier().clone()])
}

fn order_leaf() -> ShredLeaf {
    ShredLeaf {
        tenant: "acme".parse().unwrap(),
        shred: [7; 16],
        cause: ShredCause::Erasure,
        leaves: [4, 6].into(),
        places: [([1; 16], [1, 5].into())].into(),
        actor: "tok-1".to_owned(),
        occurred_at: time(),
    }
}

/// Some leaves, the mail's first (4), a pack's (5), the mail's second (6), another mail's (7), the order (8).
fn log(order: &ShredLeaf) -> TestLog {
    let (leaf, _) = message_leaf();
    let mut log = TestLog::with(&leaf);
    let pack = PackLeaf {
        tenant: "acme".parse().unwrap(),
        pack: [1; 16],
        class: leaf.class,
        sha256: Digest::of(b"pack"),
        version_id: "v".to_owned(),
    };
    let seat = |seq| MessageLeaf { seat: Seat { seq, ..leaf.seat }, ..leaf.clone() };
    for body in [pack.body(), seat(43).body(), seat(44).body(), order.body()] {
        log.leaves.push(stamp(body, time()).unwrap());
    }
    log
}

fn proof(log: &TestLog, index: u64) -> LeafProof {
    let size = log.leaves.len() as u64;
    LeafProof {
        leaf: log.leaves[index as usize].clone(),
        index,
        hashes: inclusion_proof(index, size, &LeafHashes(&log.hashes())).unwrap(),
        checkpoint_note: log.checkpoint().sign(&signer(&log.origin.to_string())).unwrap().to_string(),
    }
}

fn certificate_of(log: &TestLog) -> ShredCertificate {
    ShredCertificate {
        message: Digest::of(MESSAGE),
        order: proof(log, 8),
        observations: vec![proof(log, 4), proof(log, 6)],
        shredded_at: time(),
    }
}

fn certificate() -> ShredCertificate {
    certificate_of(&log(&order_leaf()))
}

/// A receipt that was given out when the log was smaller.
fn receipt() -> Receipt {
    let (leaf, openings) = message_leaf();
    TestLog::with(&leaf).receipt(&openings, &signer(ORIGIN))
}

#[track_caller]
fn check(change: impl FnOnce(&mut ShredCertificate), failures: &[CertificateFailure]) {
    let mut changed = certificate();
    change(&mut changed);
    let text = changed.to_text();
    assert_eq!(verify_certificate(&text, Some(&policy()), None).unwrap_err(), failures);
    assert_eq!(verify_certificate(&text, None, None).unwrap_err(), failures);
}

#[test]
fn the_committed_certificate_reads_back_and_verifies() {
    if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shred-certificate.json");
        std::fs::write(path, certificate().to_text() + "\n").unwrap();
        return;
    }
    assert_eq!(VECTOR, certificate().to_text() + "\n");
    assert_eq!(ShredCertificate::parse(VECTOR), Ok(certificate()));
    let verified = verify_certificate(VECTOR, Some(&policy()), None).unwrap();
    assert_eq!((verified.order.index, verified.order.leaf.clone()), (8, order_leaf()));
    assert_eq!(verified.observations.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [4, 6]);
    assert_eq!((verified.message, verified.identified), (Digest::of(MESSAGE), None));
    assert_eq!(verify_certificate(VECTOR, None, None).unwrap(), verified);
}

#[test]
fn a_receipt_from_before_says_which_mail_it_was() {
    let text = receipt().to_text();
    let verified = verify_certificate(VECTOR, Some(&policy()), Some(&text)).unwrap();
    assert_eq!(verified.identified, Some(4));
    let refused = |certificate: &str, receipt: &str, failure| {
        assert_eq!(verify_certificate(certificate, Some(&policy()), Some(receipt)), Err(vec![failure]));
    };
    // Of another mail.
    let other = ShredCertificate { message: Digest::of(b"other"), ..certificate() }.to_text();
    refused(&other, &text, CertificateFailure::Receipt(Failure::OtherMessage));
    // Of the same mail at another place of the log, which was not shredded.
    let (leaf, openings) = message_leaf();
    let mut elsewhere = TestLog::with(&leaf);
    elsewhere.leaves.insert(0, vec![9]);
    let elsewhere = elsewhere.receipt(&openings, &signer(ORIGIN));
    assert_eq!(elsewhere.index, 5);
    refused(VECTOR, &elsewhere.to_text(), CertificateFailure::ReceiptElsewhere);
    // Of a leaf that the same log cannot hold at that place.
    let twin = TestLog::with(&MessageLeaf { seat: Seat { seq: 99, ..leaf.seat }, ..leaf });
    let twin = twin.receipt(&openings, &signer(ORIGIN));
    assert_eq!(twin.index, 4);
    refused(VECTOR, &twin.to_text(), CertificateFailure::ReceiptElsewhere);
}

#[test]
fn each_way_to_break_a_certificate_is_named() {
    let gone = |index| CertificateFailure::Observation { index };
    check(|c| c.observations[0].hashes[0] = Digest::of(b""), &[gone(4)]);
    check(|c| c.observations[1].leaf.push(b' '), &[gone(6)]);
    check(|c| c.observations.swap(0, 1), &[CertificateFailure::Disorder]);
    check(|c| c.observations[1] = c.observations[0].clone(), &[CertificateFailure::Disorder]);
    // A leaf that is there, but of a pack; one of a mail that was not ordered to go.
    check(
        |c| c.observations[1] = proof(&log(&order_leaf()), 5),
        &[CertificateFailure::NotOrdered { index: 5 }, gone(5)],
    );
    check(
        |c| c.observations[1] = proof(&log(&order_leaf()), 7),
        &[CertificateFailure::NotOrdered { index: 7 }],
    );
    // Proven by another checkpoint than the order.
    let mut grown = log(&order_leaf());
    grown.leaves.push(vec![1]);
    check(|c| c.observations[1] = proof(&grown, 6), &[gone(6)]);
    let moved = tree::TreeError::ProofLength { found: 1, expected: 4 };
    check(|c| c.order.index = 7, &[CertificateFailure::Order(Failure::Inclusion(moved))]);
    let earlier = Timestamp::from_millis(time().as_millis() - CLOCKS_APART_MILLIS_MAX - 1);
    check(|c| c.shredded_at = earlier, &[CertificateFailure::BeforeOrder]);
}

#[test]
fn clocks_may_lie_apart_a_little() {
    let shredded_at = Timestamp::from_millis(time().as_millis() - CLOCKS_APART_MILLIS_MAX);
    let text = ShredCertificate { shredded_at, ..certificate() }.to_text();
    assert!(verify_certificate(&text, Some(&policy()), None).is_ok());
}

#[test]
fn an_order_of_another_tenant_or_log_counts_for_nothing() {
    let foreign = log(&ShredLeaf { tenant: "other".parse().unwrap(), ..order_leaf() });
    check(|c| *c = certificate_of(&foreign), &[CertificateFailure::Order(Failure::OtherLog)]);
    let mut elsewhere = log(&order_leaf());
    elsewhere.origin = "archive.example.com/main/acme/audit/1".parse().unwrap();
    let text = certificate_of(&elsewhere).to_text();
    let failed = verify_certificate(&text, None, None).unwrap_err();
    assert_eq!(failed, [CertificateFailure::Order(Failure::OtherLog)]);
}

#[test]
fn a_checkpoint_that_nobody_trusts_fails_under_a_policy_only() {
    let forger =
        Policy::of_logs(vec![crate::note::Signer::new(ORIGIN, &[8; 32]).unwrap().verifier().clone()]);
    assert!(verify_certificate(VECTOR, None, None).is_ok());
    let failed = verify_certificate(VECTOR, Some(&forger), None).unwrap_err();
    assert!(matches!(failed[..], [CertificateFailure::Order(Failure::Policy(_))]), "{failed:?}");
}

#[test]
fn nothing_else_is_a_certificate() {
    let form = |text: &str| {
        assert_eq!(ShredCertificate::parse(text), Err(CertificateFormatError::Form), "{text}");
    };
    form("");
    form("[]");
    form(&VECTOR.replace("\"v\":1", "\"v\":2"));
    form(&VECTOR.replace("\"v\":1", "\"v\":1,\"w\":1"));
    form(&VECTOR.replace("\"kind\":\"shred", "\"kind\": \"shred"));
    form(&VECTOR.replace("are kept with that mail", "are gone"));
    form(&VECTOR.replace("\"message\":\"sha256:", "\"message\":\"sha256:F"));
    form(&(VECTOR.to_owned() + "\n"));
    form(&ShredCertificate { observations: Vec::new(), ..certificate() }.to_text());
    let broken = VECTOR.replace("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2");
    assert!(matches!(ShredCertificate::parse(&broken), Err(CertificateFormatError::Proof(_))));
}

#[test]
fn a_certificate_has_as_many_observations_as_its_limit_and_is_no_longer_than_its_limit() {
    let of = |count: usize| {
        let shown = &certificate().observations[0];
        let observations = (0..count as u64).map(|index| LeafProof { index, ..shown.clone() }).collect();
        ShredCertificate { observations, ..certificate() }.to_text()
    };
    let longest = of(CERTIFICATE_OBSERVATIONS_MAX);
    assert!(longest.len() <= SHRED_CERTIFICATE_BYTES_MAX && ShredCertificate::parse(&longest).is_ok());
    let more = of(CERTIFICATE_OBSERVATIONS_MAX + 1);
    assert_eq!(ShredCertificate::parse(&more), Err(CertificateFormatError::Form));
    let blank = |bytes: usize| ShredCertificate::parse(&" ".repeat(bytes));
    assert_eq!(blank(SHRED_CERTIFICATE_BYTES_MAX), Err(CertificateFormatError::Form));
    assert_eq!(blank(SHRED_CERTIFICATE_BYTES_MAX + 1), Err(CertificateFormatError::TooLong));
}

proptest! {
    #[test]
    fn a_changed_byte_never_verifies_as_something_else(place in 0..VECTOR.len().saturating_sub(1), byte in 0x20_u8..0x7f) {
        let mut bytes = VECTOR.as_bytes().to_vec();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        // The dash of a note's signature line has more bytes than one.
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if let Ok(verified) = verify_certificate(&text, Some(&policy()), None) {
            // Which mail it was and when it was done are the archive's word; the signature's base64 is not signed.
            prop_assert_eq!(verified.order.leaf, order_leaf());
            prop_assert_eq!(verified.observations.len(), 2);
        }
    }
}
