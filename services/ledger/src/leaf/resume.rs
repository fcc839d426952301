use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use super::{ACTOR_BYTES_MAX, LeafError, Stamped, VERSION, fields::Fields, fields::plain, key_of};
use crate::origin::TenantOrArchive;

/// Expiry and shredding, suspended since a rebuild, may go on: somebody looked and said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeLeaf {
    pub tenant: TenantOrArchive,
    /// Who: the id of a token, never an address.
    pub actor: String,
    /// When, by the clock of the service that reports it.
    pub occurred_at: Timestamp,
}

impl ResumeLeaf {
    pub const KIND: &'static str = "resume";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "actor": self.actor,
            "kind": Self::KIND,
            "occurred_at": self.occurred_at.to_string(),
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
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            actor: fields.string("actor", "a short name of visible ASCII without @", |text| {
                plain(text, ACTOR_BYTES_MAX)
            })?,
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By everything: it may be said again after the next rebuild.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&self.body())
    }
}
