use openarchive_domain::{Digest, Timestamp};

use super::{Receipt, ReceiptFormatError};
use crate::{
    checkpoint::Checkpoint,
    commitment::Field,
    leaf::{Envelope, MessageLeaf},
    note::Note,
    origin::{LogId, Origin, TenantOrArchive},
    policy::{Policy, PolicyFailure},
    tree::{self, Hash, TreeError},
};

/// One thing that is broken about a receipt or the message it is shown with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the proof cannot be read: {0}")]
    Malformed(#[from] ReceiptFormatError),
    #[error("the checkpoint is not one that the policy accepts: {0}")]
    Policy(#[from] PolicyFailure),
    #[error("the checkpoint's origin is not that of an archive's log")]
    Origin,
    #[error("the leaf is not in the tree that the checkpoint signs: {0}")]
    Inclusion(TreeError),
    #[error("the leaf stands in a log where leaves of its tenant do not belong")]
    OtherLog,
    #[error("the opening of `{0}` does not open the leaf's commitment")]
    Opening(Field),
    #[error("the opened envelope is not an envelope")]
    Envelope,
    #[error("the message is not the one that was archived: its SHA-256 differs from the opened digest")]
    OtherMessage,
}

/// What a receipt proves, as far as the policy reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub origin: Origin,
    pub checkpoint: Checkpoint,
    pub index: u64,
    pub leaf: MessageLeaf,
    /// When the sequencer appended the leaf, by the archive's own word: not time-stamped.
    pub time: Timestamp,
    pub envelope: Envelope,
    /// Witnesses of the policy that cosigned the checkpoint, by their names in it.
    pub witnesses: Vec<String>,
}

/// Checks a receipt against the digest of the message it is shown with: leaf hash, inclusion, checkpoint, openings,
/// digest. Names everything that is broken, not only the first thing.
///
/// Without a policy no signature is checked: the parts agree with each other, and anybody could have made them.
pub fn verify_receipt(
    text: &str,
    policy: Option<&Policy>,
    message: &Digest,
) -> Result<Verified, Vec<Failure>> {
    let malformed = |error: ReceiptFormatError| vec![Failure::Malformed(error)];
    let receipt = Receipt::parse(text).map_err(malformed)?;
    let mut failures = Vec::new();
    let Receipt { leaf, index, hashes, checkpoint_note, .. } = &receipt;
    let log = check_log(leaf, *index, hashes, checkpoint_note, policy, &mut failures);
    let stamped = MessageLeaf::parse(&receipt.leaf)
        .map_err(|error| failures.push(Failure::Malformed(error.into())))
        .ok();
    let envelope =
        stamped.as_ref().and_then(|stamped| check_content(&receipt, &stamped.leaf, message, &mut failures));
    if let (Some((_, origin, _)), Some(stamped)) = (&log, &stamped)
        && !belongs(&stamped.leaf, origin)
    {
        failures.push(Failure::OtherLog);
    }
    match (log, stamped, envelope) {
        (Some((checkpoint, origin, witnesses)), Some(stamped), Some(envelope)) if failures.is_empty() => {
            let (leaf, time) = (stamped.leaf, stamped.time);
            Ok(Verified { origin, checkpoint, index: receipt.index, leaf, time, envelope, witnesses })
        }
        _ => Err(failures),
    }
}

/// Checkpoint, policy, origin, inclusion. Pushes a failure whenever it answers `None`.
pub(crate) fn check_log(
    leaf: &[u8],
    index: u64,
    hashes: &[Hash],
    checkpoint_note: &str,
    policy: Option<&Policy>,
    failures: &mut Vec<Failure>,
) -> Option<(Checkpoint, Origin, Vec<String>)> {
    let (checkpoint, note): (Checkpoint, Note) = Checkpoint::parse_signed(checkpoint_note)
        .map_err(|error| failures.push(Failure::Malformed(error.into())))
        .ok()?;
    let witnesses = match policy.map(|policy| policy.check(&checkpoint, &note)) {
        Some(Ok(endorsement)) => endorsement.witnesses,
        Some(Err(failure)) => {
            failures.push(failure.into());
            Vec::new()
        }
        None => Vec::new(),
    };
    let leaf_hash = tree::leaf_hash(leaf);
    if let Err(error) = tree::verify_inclusion(&leaf_hash, index, checkpoint.size, hashes, &checkpoint.root) {
        failures.push(Failure::Inclusion(error));
    }
    let origin: Origin = checkpoint.origin.parse().map_err(|_| failures.push(Failure::Origin)).ok()?;
    Some((checkpoint, origin, witnesses))
}

/// Openings, digest, envelope. Pushes a failure whenever it answers `None`.
fn check_content(
    receipt: &Receipt,
    leaf: &MessageLeaf,
    message: &Digest,
    failures: &mut Vec<Failure>,
) -> Option<Envelope> {
    let openings = &receipt.openings;
    if openings.message.commitment() != leaf.message {
        failures.push(Failure::Opening(Field::Message));
    }
    if openings.message.value != message.as_bytes() {
        failures.push(Failure::OtherMessage);
    }
    if openings.envelope.commitment() != leaf.envelope {
        failures.push(Failure::Opening(Field::Envelope));
    }
    Envelope::parse(&openings.envelope.value).map_err(|_| failures.push(Failure::Envelope)).ok()
}

/// Messages stand in the evidence log of their tenant and nowhere else.
fn belongs(leaf: &MessageLeaf, origin: &Origin) -> bool {
    let log = origin.log();
    log.stream() == LogId::EVIDENCE && *log.owner() == TenantOrArchive::Tenant(leaf.tenant.clone())
}
