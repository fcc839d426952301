use std::collections::BTreeSet;

use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use super::{
    ACTOR_BYTES_MAX, LeafError, Stamped, VERSION, fields::Fields, fields::ascending, fields::plain, key_of,
};
use crate::{checkpoint::parse_decimal, origin::TenantOrArchive};

/// Somebody looked at quarantined mail and let it be mail like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineReleaseLeaf {
    pub tenant: TenantOrArchive,
    /// Numbers of the quarantined mail's leaves, in the same log.
    pub leaves: BTreeSet<u64>,
    /// Who: the id of a token, never an address.
    pub actor: String,
    /// When, by the clock of the service that reports it.
    pub occurred_at: Timestamp,
}

impl QuarantineReleaseLeaf {
    pub const KIND: &'static str = "quarantine-release";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "actor": self.actor,
            "kind": Self::KIND,
            "leaves": self.leaf_numbers(),
            "occurred_at": self.occurred_at.to_string(),
            "tenant": self.tenant.as_str(),
            "v": VERSION,
        })
    }

    fn leaf_numbers(&self) -> Vec<String> {
        self.leaves.iter().map(u64::to_string).collect()
    }

    /// Reads the bytes of a leaf, strictly: the numbers ascend, and there is one.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            leaves: fields.list("leaves", "ascending decimal numbers in strings", |items| {
                ascending(items, |item| item.as_str().and_then(parse_decimal)).filter(|all| !all.is_empty())
            })?,
            actor: fields.string("actor", "a short name of visible ASCII without @", |text| {
                plain(text, ACTOR_BYTES_MAX)
            })?,
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By the leaves: each is released once.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({
            "kind": Self::KIND,
            "leaves": self.leaf_numbers(),
            "tenant": self.tenant.as_str(),
        }))
    }
}
