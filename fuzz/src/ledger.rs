//! Proofs and logs: read by whoever verifies, agents above all.

use std::sync::LazyLock;

use openarchive_domain::Digest;
use openarchive_ledger::{
    Hash,
    checkpoint::Checkpoint,
    cosignature::WitnessKey,
    jcs,
    leaf::{AnyLeaf, Envelope, LEAF_BYTES_MAX, Stamped, stamp},
    note::{Note, Verifier},
    origin::{LogId, Origin},
    policy::Policy,
    proof::TlogProof,
    receipt::{Receipt, verify_receipt},
    shred_certificate::{ShredCertificate, VerifiedCertificate, verify_certificate},
    tiles::{BundleId, TILE_WIDTH, TileId, decode_bundle, encode_bundle},
    tree::{PROOF_HASHES_MAX, verify_consistency, verify_inclusion},
};
use openarchive_verify::{Outcome, verify_message, verify_shred};

/// A message, its true proof, and the policy of the log that made it.
const MESSAGE: &[u8] = include_bytes!("../../services/ledger/fixtures/message.eml");
const PROOF: &str = include_str!("../../services/ledger/fixtures/receipt.tlog-proof");
const POLICY: &str = include_str!("../../services/ledger/fixtures/trust.policy");

const CERTIFICATE: &str = include_str!("../../services/ledger/fixtures/shred-certificate.json");

static TRUE_POLICY: LazyLock<Option<Policy>> = LazyLock::new(|| POLICY.parse().ok());
static TRUE_RECEIPT: LazyLock<Option<Receipt>> = LazyLock::new(|| Receipt::parse(PROOF).ok());

/// Notes and checkpoints are read in one writing only.
pub(crate) fn checkpoint(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(note) = Note::parse(text) {
        assert_eq!(note.to_string(), text);
        let Some(policy) = &*TRUE_POLICY else { return };
        // Nobody else has the key: what is signed is what the log signed.
        if let (Ok(checkpoint), Some(receipt)) = (Checkpoint::parse(note.text()), &*TRUE_RECEIPT)
            && policy.check(&checkpoint, &note).is_ok()
        {
            let signed = Checkpoint::parse_signed(&receipt.checkpoint_note);
            assert!(signed.is_ok_and(|(signed, _)| signed == checkpoint), "a forged checkpoint: {text:?}");
        }
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
}

/// Proofs are read in one writing only; what verifies says what the log said about this very message.
pub(crate) fn proof(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(proof) = TlogProof::parse(text) {
        assert_eq!(proof.to_string(), text);
        assert!(proof.hashes.len() <= PROOF_HASHES_MAX);
    }
    if let Ok(receipt) = Receipt::parse(text) {
        assert_eq!(receipt.to_text(), text);
    }
    let message = Digest::of(MESSAGE);
    let report = verify_message(message, text, Some(POLICY));
    let verified = verify_receipt(text, TRUE_POLICY.as_ref(), &message);
    assert_eq!(report.outcome() == Outcome::Verified, verified.is_ok());
    assert!(!report.to_string().is_empty() && report.to_json().is_object());
    if verified.is_ok() {
        let (Ok(receipt), Some(known)) = (Receipt::parse(text), &*TRUE_RECEIPT) else {
            assert_eq!(0, 1, "what cannot be read verifies: {text:?}");
            return;
        };
        let said = |receipt: &Receipt| (receipt.leaf.clone(), receipt.openings.clone(), receipt.index);
        assert!(said(&receipt) == said(known), "a forged receipt verifies: {text:?}");
    }
    // With no policy nothing is anchored, whatever it is.
    assert_ne!(verify_message(message, text, None).outcome(), Outcome::Verified);
}

static TRUE_CERTIFICATE: LazyLock<Option<VerifiedCertificate>> =
    LazyLock::new(|| verify_certificate(CERTIFICATE, TRUE_POLICY.as_ref(), None).ok());

/// A certificate is read in one writing only; what verifies names leaves that the log's own order named.
pub(crate) fn shred_certificate(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(certificate) = ShredCertificate::parse(text) {
        assert_eq!(certificate.to_text(), text.strip_suffix('\n').unwrap_or(text));
    }
    let report = verify_shred(text, Some(POLICY), None);
    assert!(report.to_json().is_object());
    // Without a receipt nothing says which mail it was.
    assert_ne!(report.outcome(), Outcome::Verified);
    if report.outcome() != Outcome::Failed {
        let named = report.proved().map(|proved| &proved.observations);
        let known = TRUE_CERTIFICATE.as_ref().map(|known| &known.observations);
        let (Some(named), Some(known)) = (named, known) else {
            assert_eq!(0, 1, "what proves nothing verifies: {text:?}");
            return;
        };
        assert!(named.iter().all(|leaf| known.contains(leaf)), "a forged certificate verifies: {text:?}");
    }
    assert_ne!(verify_shred(text, None, Some(PROOF)).outcome(), Outcome::Verified);
}

/// A policy that was read is written so that it reads the same.
pub(crate) fn policy(input: &[u8]) {
    if let Ok(policy) = Policy::parse(input) {
        assert_eq!(Policy::parse(&policy.to_text()), Ok(policy));
    }
    let Ok(text) = str::from_utf8(input) else { return };
    for word in text.split_ascii_whitespace() {
        if let Ok(verifier) = word.parse::<Verifier>() {
            assert_eq!(verifier.to_string().parse::<Verifier>(), Ok(verifier));
        }
        if let Ok(witness) = word.parse::<WitnessKey>() {
            assert_eq!(witness.to_string().parse::<WitnessKey>(), Ok(witness));
        }
    }
    for line in text.lines() {
        if let Ok(log) = line.parse::<LogId>() {
            assert_eq!(log.to_string(), line);
        }
        if let Ok(origin) = line.parse::<Origin>() {
            assert_eq!(origin.to_string(), line);
        }
    }
}

/// Leaves and what they commit to are read in one writing only: two readers can never see two things in one.
pub(crate) fn leaf(input: &[u8]) {
    if let Ok(Stamped { leaf, time }) = AnyLeaf::parse(input) {
        let body = match &leaf {
            AnyLeaf::Message(leaf) => leaf.body(),
            AnyLeaf::Pack(leaf) => leaf.body(),
            AnyLeaf::Audit(leaf) => leaf.body(),
            AnyLeaf::First(leaf) => leaf.body(),
            AnyLeaf::Hold(leaf) => leaf.body(),
            AnyLeaf::Shred(leaf) => leaf.body(),
            AnyLeaf::Resume(leaf) => leaf.body(),
            AnyLeaf::QuarantineRelease(leaf) => leaf.body(),
        };
        assert!(input.len() <= LEAF_BYTES_MAX);
        assert_eq!(stamp(body, time).as_deref(), Ok(input));
        assert_eq!(leaf.idempotency_key(), leaf.idempotency_key());
    }
    if let Ok(envelope) = Envelope::parse(input) {
        assert_eq!(envelope.value(), input);
    }
    if let Ok(value) = serde_json::from_slice(input)
        && let Ok(text) = jcs::canonicalize(&value)
    {
        let again = serde_json::from_str(&text).map(|value| jcs::canonicalize(&value));
        assert!(matches!(again, Ok(Ok(again)) if again == text), "{text:?} is not canonical");
    }
}

/// Paths name one tile each; a bundle holds what was put in. The first byte is the width, less one.
pub(crate) fn tiles(input: &[u8]) {
    if let Ok(path) = str::from_utf8(input) {
        if let Ok(tile) = path.parse::<TileId>() {
            assert_eq!(tile.to_string(), path);
            assert!((1..=TILE_WIDTH).contains(&tile.width));
        }
        if let Ok(bundle) = path.parse::<BundleId>() {
            assert_eq!(bundle.to_string(), path);
            assert!(bundle.first_entry() / u64::from(TILE_WIDTH) == bundle.index);
        }
    }
    let [width, bytes @ ..] = input else { return };
    let width = u16::from(*width) + 1;
    if let Ok(entries) = decode_bundle(bytes, width) {
        assert_eq!(entries.len(), usize::from(width));
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(bytes));
    }
}

/// `index | size | root | leaf | hashes`: nothing that was not hashed together verifies. A proof of a tree's only leaf
/// is the leaf itself.
pub(crate) fn tree_proof(input: &[u8]) {
    let Some((index, rest)) = input.split_first_chunk::<8>() else { return };
    let Some((size, rest)) = rest.split_first_chunk::<8>() else { return };
    let (index, size) = (u64::from_be_bytes(*index), u64::from_be_bytes(*size));
    let (hashes, _) = rest.as_chunks::<32>();
    let hashes: Vec<Hash> = hashes.iter().copied().map(Hash::from_bytes).collect();
    let [root, leaf, proof @ ..] = hashes.as_slice() else { return };
    if verify_inclusion(leaf, index, size, proof, root).is_ok() {
        assert!(index == 0 && size == 1 && proof.is_empty() && leaf == root, "a made-up inclusion proof");
    }
    if verify_consistency(index, leaf, size, root, proof).is_ok() {
        let same = index == size && leaf == root;
        // The empty tree is a prefix of any, a tree of itself.
        assert!(proof.is_empty() && (same || index == 0), "a made-up consistency proof");
    }
}
