//! The stored form of an observation: the one blob that holds an arrival's envelope and its commitment salt, and
//! from which, together with the message and the leaf, every row of the catalogue can be made again.
//!
//! Version 1 is canonical JSON (RFC 8785) with exactly these fields; numbers of 64 bits are decimal strings:
//!
//! ```text
//! agent             name of the agent                     agent_epoch  u64
//! class             retention class of the observation    envelope     {from, mode, peer, to}, `to` in RCPT order
//! flags             names of the splitter's flags         instance     UUID
//! kind              "observation"                         length       bytes of the message
//! message           sha256:<hex> of the message           occurred_at  the agent's clock when it accepted the mail
//! parts             [{digest, length}] by digest          reason       of a quarantine, else ""
//! record_salt       base64 of 32 random bytes             recorded_at  the core's clock when it wrote this
//! seq               u64                                   skeleton     sha256:<hex> of the skeleton's encoding
//! skeleton_length   bytes of that encoding                state        "stored" or "quarantined", as offered
//! tenant            name of the tenant                    v            1
//! ```
//!
//! Whether the observation is a duplicate is not in here: it is decided after this blob is durable, and stands in
//! the leaf. The skeleton names the parts too; they are listed so that references can be counted without reading it.

mod decode;
#[cfg(test)]
mod tests;

pub use decode::RecordError;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openarchive_domain::{AgentRef, Digest, RetentionClass, Timestamp};
use openarchive_ledger::{
    commitment::{Field, Salt},
    jcs,
    leaf::{MessageLeaf, MessageState, uuid_text},
    receipt::Openings,
};
use serde_json::json;

use crate::offer::{Arrival, Offer};

/// Version of the stored form.
const VERSION: u64 = 1;

/// Longest encoding that is read, in bytes: room for every field of an offer at its limit.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One arrival of one mail, as it was recorded. Holds personal data; `Debug` shows none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservationRecord {
    pub agent: AgentRef,
    pub offer: Offer,
    pub class: RetentionClass,
    pub recorded_at: Timestamp,
    pub salt: Salt,
}

impl ObservationRecord {
    /// The bytes of the blob: equal records, equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let offer = &self.offer;
        let (state, reason) = match &offer.arrival {
            Arrival::Accepted => (MessageState::Stored, ""),
            Arrival::Quarantined { reason } => (MessageState::Quarantined, reason.as_str()),
        };
        let envelope = &offer.envelope;
        let parts = offer
            .parts
            .iter()
            .map(|(digest, length)| json!({ "digest": digest.to_string(), "length": length.to_string() }));
        let value = json!({
            "agent": self.agent.name.as_str(),
            "agent_epoch": offer.seat.agent_epoch.to_string(),
            "class": self.class.to_string(),
            "envelope": {
                "from": envelope.from, "mode": envelope.mode, "peer": envelope.peer, "to": envelope.to,
            },
            "flags": offer.flags,
            "instance": uuid_text(&offer.seat.instance),
            "kind": "observation",
            "length": offer.length.to_string(),
            "message": offer.message.to_string(),
            "occurred_at": offer.occurred_at.to_string(),
            "parts": parts.collect::<Vec<_>>(),
            "reason": reason,
            "record_salt": STANDARD.encode(self.salt.as_bytes()),
            "recorded_at": self.recorded_at.to_string(),
            "seq": offer.seat.seq.to_string(),
            "skeleton": offer.skeleton.to_string(),
            "skeleton_length": offer.skeleton_length.to_string(),
            "state": state.as_str(),
            "tenant": self.agent.tenant.as_str(),
            "v": VERSION,
        });
        jcs::canonicalize(&value)
            .expect("a record is strings and one small integer under ASCII keys")
            .into_bytes()
    }

    /// What opens the two commitments of the leaf.
    pub fn openings(&self) -> Openings {
        let (_, message) = self.salt.commit(Field::Message, self.offer.message.as_bytes().to_vec());
        let (_, envelope) = self.salt.commit(Field::Envelope, self.offer.envelope.value());
        Openings { message, envelope }
    }

    /// The leaf of this observation if it ended in `state`.
    pub fn leaf(&self, state: MessageState) -> MessageLeaf {
        let openings = self.openings();
        MessageLeaf {
            tenant: self.agent.tenant.clone(),
            agent: self.agent.name.clone(),
            seat: self.offer.seat,
            class: self.class,
            state,
            message: openings.message.commitment(),
            envelope: openings.envelope.commitment(),
            occurred_at: self.offer.occurred_at,
        }
    }

    /// Whether a stored leaf is the one of this very record: same seat, same fields, and the salt opens it.
    pub fn opens(&self, leaf: &MessageLeaf) -> bool {
        self.leaf(leaf.state) == *leaf && self.may_end_as(leaf.state)
    }

    /// Quarantined mail stays quarantined; only other mail is stored or a duplicate.
    fn may_end_as(&self, state: MessageState) -> bool {
        (state == MessageState::Quarantined) == matches!(self.offer.arrival, Arrival::Quarantined { .. })
    }

    /// How it ends: `message_is_new` says that no observation of the same bytes stood before.
    pub fn state(&self, message_is_new: MessageIs) -> MessageState {
        match (&self.offer.arrival, message_is_new) {
            (Arrival::Quarantined { .. }, _) => MessageState::Quarantined,
            (Arrival::Accepted, MessageIs::New) => MessageState::Stored,
            (Arrival::Accepted, MessageIs::Known) => MessageState::Duplicate,
        }
    }

    /// Under which the leaf stands in the log, whatever its state.
    pub fn idempotency_key(&self) -> Digest {
        MessageLeaf::idempotency_key_of(&self.agent.tenant, &self.agent.name, &self.offer.seat)
    }
}

/// Whether the tenant's catalogue held the message before this observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageIs {
    New,
    Known,
}
