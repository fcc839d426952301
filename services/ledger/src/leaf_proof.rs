//! A leaf and its inclusion proof, as one C2SP tlog-proof text. It opens nothing: what the leaf only commits to stays
//! unsaid.

use openarchive_domain::Timestamp;
use serde_json::{Value, json};

use crate::{
    base64_text,
    checkpoint::Checkpoint,
    jcs,
    leaf::ShredLeaf,
    origin::{LogId, Origin},
    policy::Policy,
    proof::TlogProof,
    receipt::{Failure, ReceiptFormatError, check_log},
    tree::Hash,
};

/// All that the text says. Nothing in it is checked by having been read: see [`LeafProof::verify_shred`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafProof {
    /// The leaf's bytes, exactly as they are stored and hashed.
    pub leaf: Vec<u8>,
    pub index: u64,
    /// Inclusion proof in the checkpoint's tree, leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint_note: String,
}

impl LeafProof {
    /// The tlog-proof text. Its `extra` is the JCS of `{leaf}`, with the leaf's bytes as base64.
    pub fn to_text(&self) -> String {
        let extra = json!({ "leaf": base64_text::encode(&self.leaf) });
        let extra = jcs::canonicalize(&extra).expect("the extra line is a string under an ASCII key");
        let proof = TlogProof {
            extra: extra.into_bytes(),
            index: self.index,
            hashes: self.hashes.clone(),
            checkpoint_note: self.checkpoint_note.clone(),
        };
        proof.to_string()
    }

    /// Reads what [`Self::to_text`] writes.
    pub fn parse(text: &str) -> Result<Self, ReceiptFormatError> {
        let TlogProof { extra, index, hashes, checkpoint_note } = TlogProof::parse(text)?;
        let leaf = || {
            let extra: Value = serde_json::from_slice(&extra).ok()?;
            base64_text::decode(extra["leaf"].as_str()?)
        };
        let leaf = leaf().ok_or(ReceiptFormatError::LeafExtra)?;
        let proof = Self { leaf, index, hashes, checkpoint_note };
        // Refuses further fields and any other writing.
        if proof.to_text() == text { Ok(proof) } else { Err(ReceiptFormatError::LeafExtra) }
    }

    /// Checks leaf hash, inclusion, checkpoint, and that the leaf orders a shredding in the evidence log of its tenant.
    /// Names everything that is broken. Without a policy no signature is checked.
    pub fn verify_shred(&self, policy: Option<&Policy>) -> Result<VerifiedShred, Vec<Failure>> {
        let mut failures = Vec::new();
        let Self { leaf, index, hashes, checkpoint_note } = self;
        let log = check_log(leaf, *index, hashes, checkpoint_note, policy, &mut failures);
        let stamped =
            ShredLeaf::parse(leaf).map_err(|error| failures.push(Failure::Malformed(error.into()))).ok();
        if let (Some((_, origin, _)), Some(stamped)) = (&log, &stamped) {
            let (stream, owner) = (origin.log().stream(), origin.log().owner());
            if stream != LogId::EVIDENCE || *owner != stamped.leaf.tenant {
                failures.push(Failure::OtherLog);
            }
        }
        match (log, stamped) {
            (Some((checkpoint, origin, witnesses)), Some(stamped)) if failures.is_empty() => {
                let (leaf, time) = (stamped.leaf, stamped.time);
                Ok(VerifiedShred { origin, checkpoint, index: self.index, leaf, time, witnesses })
            }
            _ => Err(failures),
        }
    }
}

/// What the proof of an order shows, as far as the policy reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedShred {
    pub origin: Origin,
    pub checkpoint: Checkpoint,
    pub index: u64,
    pub leaf: ShredLeaf,
    /// When the sequencer appended the leaf, by the archive's own word: not time-stamped.
    pub time: Timestamp,
    pub witnesses: Vec<String>,
}
