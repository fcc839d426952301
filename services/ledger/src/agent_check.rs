//! What an agent checks before it prunes: everything a lying core could say, against what the agent knows itself.

use openarchive_domain::{AgentName, Digest, RetentionClass, Seat, Tenant, Timestamp};

use crate::{
    checkpoint::Checkpoint,
    commitment::{Commitment, Field, Opening},
    leaf::{Envelope, MessageLeaf, MessageState},
    note::{Verifier, VerifyError},
    origin::Origin,
    receipt::{Receipt, ReceiptFormatError},
    tree::{self, Hash, TreeError},
};

#[cfg(test)]
mod tests;

/// What the agent knows of one mail: every field that its leaf must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    pub tenant: Tenant,
    pub agent: AgentName,
    pub seat: Seat,
    /// As the core answered it to the offer.
    pub class: RetentionClass,
    /// States that the agent accepts for this mail.
    pub states: Vec<MessageState>,
    pub occurred_at: Timestamp,
    /// Of the message's exact bytes.
    pub message: Digest,
    pub envelope: Envelope,
}

/// A receipt that holds. The checkpoint has still to be checked for growth: see [`check_growth`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub checkpoint: Checkpoint,
    pub index: u64,
    pub state: MessageState,
    /// When the sequencer appended the leaf, by the core's own word.
    pub time: Timestamp,
}

/// The lie, or the damage, that a receipt was caught at. Nothing may be pruned on account of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("the core answered no proof")]
    NoProof,
    #[error("the receipt cannot be read: {0}")]
    Malformed(#[from] ReceiptFormatError),
    #[error("the receipt's checkpoint is of another log than the one this agent writes to")]
    WrongOrigin,
    #[error("the receipt's checkpoint is not signed by the log's key")]
    ForeignKey,
    #[error("the receipt's checkpoint carries the log key's name, but its signature does not verify")]
    BadSignature,
    #[error("the receipt's leaf is not in the tree of its checkpoint: {0}")]
    BadInclusion(TreeError),
    #[error(
        "the receipt's leaf is not about this mail: its field `{field}` differs from what this agent knows"
    )]
    LeafMismatch { field: &'static str },
    #[error("the leaf's commitment to `{field}` does not open to this agent's own value")]
    BadOpening { field: Field },
}

/// Checks a receipt text against what the agent knows, the log's origin and the log's key.
pub fn check_receipt(
    text: &str,
    expected: &Expectation,
    origin: &Origin,
    log_key: &Verifier,
) -> Result<Checked, ReceiptError> {
    if text.trim().is_empty() {
        return Err(ReceiptError::NoProof);
    }
    let receipt = Receipt::parse(text)?;
    let (checkpoint, note) =
        Checkpoint::parse_signed(&receipt.checkpoint_note).map_err(ReceiptFormatError::from)?;
    let origin = origin.to_string();
    if checkpoint.origin != origin {
        return Err(ReceiptError::WrongOrigin);
    }
    if log_key.name() != origin {
        return Err(ReceiptError::ForeignKey);
    }
    log_key.verify(&note).map_err(|error| match error {
        VerifyError::NotSigned => ReceiptError::ForeignKey,
        VerifyError::BadSignature => ReceiptError::BadSignature,
    })?;
    let leaf_hash = tree::leaf_hash(&receipt.leaf);
    tree::verify_inclusion(&leaf_hash, receipt.index, checkpoint.size, &receipt.hashes, &checkpoint.root)
        .map_err(ReceiptError::BadInclusion)?;
    let stamped = MessageLeaf::parse(&receipt.leaf).map_err(ReceiptFormatError::from)?;
    check_fields(&stamped.leaf, expected)?;
    let openings = &receipt.openings;
    let message = expected.message.as_bytes();
    check_opening(Field::Message, &stamped.leaf.message, &openings.message, message)?;
    check_opening(Field::Envelope, &stamped.leaf.envelope, &openings.envelope, &expected.envelope.value())?;
    Ok(Checked { checkpoint, index: receipt.index, state: stamped.leaf.state, time: stamped.time })
}

/// Every field except the commitments and the time.
fn check_fields(leaf: &MessageLeaf, expected: &Expectation) -> Result<(), ReceiptError> {
    // Taken apart in full, so that a field that is added to the leaf must be dealt with here.
    let MessageLeaf { tenant, agent, seat, class, state, message: _, envelope: _, occurred_at } = leaf;
    let fields = [
        ("tenant", *tenant == expected.tenant),
        ("agent", *agent == expected.agent),
        ("instance", seat.instance == expected.seat.instance),
        ("agent_epoch", seat.agent_epoch == expected.seat.agent_epoch),
        ("seq", seat.seq == expected.seat.seq),
        ("class", *class == expected.class),
        ("state", expected.states.contains(state)),
        ("occurred_at", *occurred_at == expected.occurred_at),
    ];
    match fields.into_iter().find(|(_, agrees)| !agrees) {
        Some((field, _)) => Err(ReceiptError::LeafMismatch { field }),
        None => Ok(()),
    }
}

/// The commitment must follow from the opening's key and the agent's own value; and the opening must show that value,
/// or it would prove nothing to others.
fn check_opening(
    field: Field,
    commitment: &Commitment,
    opening: &Opening,
    own_value: &[u8],
) -> Result<(), ReceiptError> {
    if opening.key.commit(own_value) == *commitment && opening.value == own_value {
        Ok(())
    } else {
        Err(ReceiptError::BadOpening { field })
    }
}

/// Why a checkpoint may not take the place of the last one. Both are to be kept as evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrowthError {
    #[error("the checkpoints are of two different logs")]
    OtherLog,
    #[error("the log answered a checkpoint of {new} leaves after one of {old}: it was rolled back")]
    OlderCheckpoint { old: u64, new: u64 },
    #[error("the log's tree of {new} leaves is not a growth of its tree of {old}: its history was rewritten")]
    ForkedTree { old: u64, new: u64 },
}

/// Checks that `new` continues `old` (none at the very first). `hashes`: the consistency proof from old to new size;
/// empty for equal sizes. Signatures must have been checked before.
pub fn check_growth(old: Option<&Checkpoint>, new: &Checkpoint, hashes: &[Hash]) -> Result<(), GrowthError> {
    let Some(old) = old else { return Ok(()) };
    if old.origin != new.origin {
        return Err(GrowthError::OtherLog);
    }
    if new.size < old.size {
        return Err(GrowthError::OlderCheckpoint { old: old.size, new: new.size });
    }
    tree::verify_consistency(old.size, &old.root, new.size, &new.root, hashes)
        .map_err(|_| GrowthError::ForkedTree { old: old.size, new: new.size })
}
