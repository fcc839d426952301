use std::{fmt, str::FromStr};

use openarchive_domain::{AgentName, Digest, ParseError, RetentionClass, Seat, Tenant, Timestamp};
use serde_json::{Value, json};

use super::{LeafError, Stamped, VERSION, fields::Fields, key_of, parse_uuid_text, uuid_text};
use crate::commitment::Commitment;

/// How a sequence number ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageState {
    Stored,
    /// The same bytes were stored before; this is a further observation of them.
    Duplicate,
    /// Stored, ledgered and receipted like any other, and flagged.
    Quarantined,
}

impl MessageState {
    pub const ALL: [Self; 3] = [Self::Stored, Self::Duplicate, Self::Quarantined];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
        }
    }
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MessageState {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let state = Self::ALL.into_iter().find(|state| state.as_str() == text);
        state.ok_or_else(|| ParseError::new("message state", text, "stored, duplicate or quarantined"))
    }
}

/// One accepted mail: who saw it, which number it got, and commitments to its digest and envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageLeaf {
    pub tenant: Tenant,
    pub agent: AgentName,
    pub seat: Seat,
    pub class: RetentionClass,
    pub state: MessageState,
    /// To the 32 bytes of the message's digest.
    pub message: Commitment,
    /// To the JCS of the [`super::Envelope`].
    pub envelope: Commitment,
    /// When the agent accepted it, by its own clock.
    pub occurred_at: Timestamp,
}

impl MessageLeaf {
    pub const KIND: &'static str = "message";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "agent": self.agent.as_str(),
            "agent_epoch": self.seat.agent_epoch.to_string(),
            "class": self.class.to_string(),
            "envelope": self.envelope.to_string(),
            "instance": uuid_text(&self.seat.instance),
            "kind": Self::KIND,
            "message": self.message.to_string(),
            "occurred_at": self.occurred_at.to_string(),
            "seq": self.seat.seq.to_string(),
            "state": self.state.as_str(),
            "tenant": self.tenant.as_str(),
            "v": VERSION,
        })
    }

    /// Reads the bytes of a leaf, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name", |text| text.parse().ok())?,
            agent: fields.string("agent", "an agent's name", |text| text.parse().ok())?,
            seat: Seat {
                instance: fields.string("instance", "a UUID in lowercase with hyphens", parse_uuid_text)?,
                agent_epoch: fields.decimal("agent_epoch")?,
                seq: fields.decimal("seq")?,
            },
            class: fields.string("class", "a retention class", |text| text.parse().ok())?,
            state: fields.string("state", "stored, duplicate or quarantined", |text| text.parse().ok())?,
            message: fields.commitment("message")?,
            envelope: fields.commitment("envelope")?,
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By the seat: one number of one agent has one leaf.
    pub fn idempotency_key(&self) -> Digest {
        Self::idempotency_key_of(&self.tenant, &self.agent, &self.seat)
    }

    /// The key of the leaf that this seat has or will have.
    pub fn idempotency_key_of(tenant: &Tenant, agent: &AgentName, seat: &Seat) -> Digest {
        key_of(&json!({
            "agent": agent.as_str(),
            "agent_epoch": seat.agent_epoch.to_string(),
            "instance": uuid_text(&seat.instance),
            "kind": Self::KIND,
            "seq": seat.seq.to_string(),
            "tenant": tenant.as_str(),
        }))
    }
}
