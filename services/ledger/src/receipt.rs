//! Receipts: a message leaf, its openings and its inclusion proof, as one C2SP tlog-proof text.

mod verify;

#[cfg(test)]
mod tests;

pub(crate) use verify::check_log;
pub use verify::{Failure, Verified, verify_receipt};

use serde_json::{Value, json};

use crate::{
    base64_text,
    checkpoint::CheckpointError,
    commitment::{FieldKey, Opening},
    jcs,
    leaf::LeafError,
    proof::{ProofTextError, TlogProof},
    tree::Hash,
};

/// Text that is no receipt, and where it stops being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFormatError {
    #[error(transparent)]
    Proof(#[from] ProofTextError),
    #[error("the proof's extra line does not hold exactly a leaf and its two openings as canonical JSON")]
    Extra,
    #[error("the proof's extra line does not hold exactly a leaf as canonical JSON")]
    LeafExtra,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Leaf(#[from] LeafError),
}

/// What opens the commitments of a message leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Openings {
    /// To the 32 bytes of the message's digest.
    pub message: Opening,
    /// To the [`crate::leaf::Envelope::value`].
    pub envelope: Opening,
}

/// All that a receipt says. Nothing in it is checked by having been read: see [`verify_receipt`] and
/// [`crate::agent_check::check_receipt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's bytes, exactly as they are stored and hashed.
    pub leaf: Vec<u8>,
    pub openings: Openings,
    pub index: u64,
    /// Inclusion proof in the checkpoint's tree, leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint_note: String,
}

impl Receipt {
    /// The tlog-proof text. Its `extra` is the JCS of `{leaf, openings}`, with the leaf's bytes as base64.
    pub fn to_text(&self) -> String {
        let opening = |opening: &Opening| {
            json!({
                "key": base64_text::encode(opening.key.as_bytes()),
                "value": base64_text::encode(&opening.value),
            })
        };
        let extra = json!({
            "leaf": base64_text::encode(&self.leaf),
            "openings": {
                "envelope": opening(&self.openings.envelope),
                "message": opening(&self.openings.message),
            },
        });
        let extra = jcs::canonicalize(&extra).expect("the extra line is strings under ASCII keys");
        let proof = TlogProof {
            extra: extra.into_bytes(),
            index: self.index,
            hashes: self.hashes.clone(),
            checkpoint_note: self.checkpoint_note.clone(),
        };
        proof.to_string()
    }

    /// Reads what [`Receipt::to_text`] writes.
    pub fn parse(text: &str) -> Result<Self, ReceiptFormatError> {
        let proof = TlogProof::parse(text)?;
        let (leaf, openings) = parse_extra(&proof.extra).ok_or(ReceiptFormatError::Extra)?;
        let TlogProof { index, hashes, checkpoint_note, .. } = proof;
        let receipt = Self { leaf, openings, index, hashes, checkpoint_note };
        // Refuses further fields and any other writing.
        if receipt.to_text() == text { Ok(receipt) } else { Err(ReceiptFormatError::Extra) }
    }
}

fn parse_extra(extra: &[u8]) -> Option<(Vec<u8>, Openings)> {
    let extra: Value = serde_json::from_slice(extra).ok()?;
    let leaf = base64_text::decode(extra["leaf"].as_str()?)?;
    let opening = |value: &Value| {
        let key = FieldKey::new(base64_text::decode_32(value["key"].as_str()?)?);
        Some(Opening { key, value: base64_text::decode(value["value"].as_str()?)? })
    };
    let openings = &extra["openings"];
    Some((
        leaf,
        Openings { message: opening(&openings["message"])?, envelope: opening(&openings["envelope"])? },
    ))
}
