use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use super::{ACTOR_BYTES_MAX, LeafError, Stamped, VERSION, fields::Fields, fields::plain, key_of};
use crate::origin::TenantOrArchive;

/// Longest name of a hold, in bytes: a DNS label.
pub const HOLD_NAME_BYTES_MAX: usize = 63;

/// What was done to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldAction {
    /// Mail was put under it. Its list is frozen.
    Set {
        /// SHA-256 of the encrypted state record that names the mail; the record holds a salt, so this says nothing of it.
        record: Digest,
    },
    /// Nothing is held by it any more.
    Released,
}

/// Mail is kept, whatever its class says, or is not any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldLeaf {
    pub tenant: TenantOrArchive,
    /// Its name: 1 to 63 visible ASCII characters without `@`.
    pub hold: String,
    pub action: HoldAction,
    /// Who: the id of a token, never an address.
    pub actor: String,
    /// When, by the clock of the service that reports it.
    pub occurred_at: Timestamp,
}

impl HoldLeaf {
    pub const KIND: &'static str = "hold";

    const fn action(&self) -> &'static str {
        match self.action {
            HoldAction::Set { .. } => "set",
            HoldAction::Released => "released",
        }
    }

    /// The leaf without its time. `record` is null in a release.
    pub fn body(&self) -> Value {
        let record = match &self.action {
            HoldAction::Set { record } => Some(record.to_string()),
            HoldAction::Released => None,
        };
        json!({
            "action": self.action(),
            "actor": self.actor,
            "hold": self.hold,
            "kind": Self::KIND,
            "occurred_at": self.occurred_at.to_string(),
            "record": record,
            "tenant": self.tenant.as_str(),
            "v": VERSION,
        })
    }

    /// Reads the bytes of a leaf, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        let record = fields.string_or_null("record", "sha256: and 64 lowercase hex digits", |text| {
            text.parse().ok().filter(|digest: &Digest| digest.to_string() == text)
        })?;
        let action = fields.string("action", "set with a record, or released without", |text| {
            match (text, record) {
                ("set", Some(record)) => Some(HoldAction::Set { record }),
                ("released", None) => Some(HoldAction::Released),
                _ => None,
            }
        })?;
        let expected = "a short name of visible ASCII without @";
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            hold: fields.string("hold", expected, |text| plain(text, HOLD_NAME_BYTES_MAX))?,
            action,
            actor: fields.string("actor", expected, |text| plain(text, ACTOR_BYTES_MAX))?,
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By name and action: a hold is set once and released once, its name is never used again.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({
            "action": self.action(),
            "hold": self.hold,
            "kind": Self::KIND,
            "tenant": self.tenant.as_str(),
        }))
    }
}
