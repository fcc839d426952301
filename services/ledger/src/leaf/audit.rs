use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use super::{LeafError, Stamped, VERSION, fields::Fields, fields::plain, key_of};
use crate::{commitment::Commitment, origin::TenantOrArchive};

/// Longest name of an action, in bytes.
pub const ACTION_BYTES_MAX: usize = 64;
/// Longest name of an actor, in bytes.
pub const ACTOR_BYTES_MAX: usize = 128;
/// Longest request id, in bytes.
pub const REQUEST_BYTES_MAX: usize = 128;

/// Somebody did something. Holds no personal data: names out of registries, ids, and a commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLeaf {
    pub tenant: TenantOrArchive,
    /// Out of an open registry, like `search` or `message.read`: visible ASCII without `@ " \ < >`.
    pub action: String,
    /// Who: the id of a token, certificate or account, never an address. Same alphabet.
    pub actor: String,
    /// Of the request in which it was done; one leaf for each action of a request. Same alphabet.
    pub request: String,
    /// To what it was done, if to any one thing.
    pub object: Option<Commitment>,
    /// When, by the clock of the service that reports it.
    pub occurred_at: Timestamp,
}

impl AuditLeaf {
    pub const KIND: &'static str = "audit";

    /// The leaf without its time. `object` is left out if there is none.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "action": self.action,
            "actor": self.actor,
            "kind": Self::KIND,
            "occurred_at": self.occurred_at.to_string(),
            "request": self.request,
            "tenant": self.tenant.as_str(),
            "v": VERSION,
        });
        if let Some(object) = &self.object {
            body["object"] = json!(object.to_string());
        }
        body
    }

    /// Reads the bytes of a leaf, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        let expected = "a short name of visible ASCII without @";
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            action: fields.string("action", expected, |text| plain(text, ACTION_BYTES_MAX))?,
            actor: fields.string("actor", expected, |text| plain(text, ACTOR_BYTES_MAX))?,
            request: fields.string("request", expected, |text| plain(text, REQUEST_BYTES_MAX))?,
            object: if fields.has("object") { Some(fields.commitment("object")?) } else { None },
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By request and action.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({ "action": self.action, "kind": Self::KIND, "request": self.request }))
    }
}
