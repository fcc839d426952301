use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use super::{
    ACTOR_BYTES_MAX, LeafError, Stamped, VERSION, fields::Fields, fields::ascending, fields::plain, key_of,
    parse_uuid_text, uuid_text,
};
use crate::{checkpoint::parse_decimal, origin::TenantOrArchive};

/// Why content was shredded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShredCause {
    /// Somebody asked for it, and its class permits it.
    Erasure,
    /// Its time was over.
    Expiry,
}

impl ShredCause {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erasure => "erasure",
            Self::Expiry => "expiry",
        }
    }
}

impl fmt::Display for ShredCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ShredCause {
    type Err = LeafError;

    fn from_str(text: &str) -> Result<Self, LeafError> {
        match text {
            "erasure" => Ok(Self::Erasure),
            "expiry" => Ok(Self::Expiry),
            _ => Err(LeafError::Field { field: "cause", expected: "erasure or expiry" }),
        }
    }
}

/// Where a shredded key stood: the pack, and its numbers in the key file.
pub type ShredPlaces = BTreeMap<[u8; 16], BTreeSet<u32>>;

/// An order to destroy keys, durable before the first one goes. What it names may be missing; anything else may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShredLeaf {
    pub tenant: TenantOrArchive,
    /// The order's own id.
    pub shred: [u8; 16],
    pub cause: ShredCause,
    /// Numbers of the message leaves, in the same log, whose mail this was: they verify and say nothing any more.
    pub leaves: BTreeSet<u64>,
    pub places: ShredPlaces,
    /// Who: the id of a token, never an address.
    pub actor: String,
    /// When, by the clock of the service that reports it.
    pub occurred_at: Timestamp,
}

impl ShredLeaf {
    pub const KIND: &'static str = "shred";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        let packs = self.places.iter().map(|(pack, keys)| json!({ "keys": keys, "pack": uuid_text(pack) }));
        json!({
            "actor": self.actor,
            "cause": self.cause.as_str(),
            "kind": Self::KIND,
            "leaves": self.leaves.iter().map(u64::to_string).collect::<Vec<_>>(),
            "occurred_at": self.occurred_at.to_string(),
            "packs": packs.collect::<Vec<_>>(),
            "shred": uuid_text(&self.shred),
            "tenant": self.tenant.as_str(),
            "v": VERSION,
        })
    }

    /// Reads the bytes of a leaf, strictly: lists ascend and have nothing twice.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        let uuid = "a UUID in lowercase with hyphens";
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            shred: fields.string("shred", uuid, parse_uuid_text)?,
            cause: fields.string("cause", "erasure or expiry", |text| text.parse().ok())?,
            leaves: fields.list("leaves", "ascending decimal numbers in strings", |items| {
                ascending(items, |item| item.as_str().and_then(parse_decimal))
            })?,
            places: fields.list("packs", "packs with the numbers of their keys, both ascending", places)?,
            actor: fields.string("actor", "a short name of visible ASCII without @", |text| {
                plain(text, ACTOR_BYTES_MAX)
            })?,
            occurred_at: fields.time("occurred_at")?,
        })
    }

    /// By the order's id.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({
            "kind": Self::KIND,
            "shred": uuid_text(&self.shred),
            "tenant": self.tenant.as_str(),
        }))
    }

    /// Whether the key of this number in this pack's key file was ordered to be destroyed.
    pub fn covers(&self, pack: &[u8; 16], key: u32) -> bool {
        self.places.get(pack).is_some_and(|keys| keys.contains(&key))
    }
}

fn places(items: &[Value]) -> Option<ShredPlaces> {
    let place = |item: &Value| {
        let fields = item.as_object().filter(|fields| fields.len() == 2)?;
        let pack = parse_uuid_text(fields.get("pack")?.as_str()?)?;
        let keys = ascending(fields.get("keys")?.as_array()?, |key| u32::try_from(key.as_u64()?).ok())?;
        (!keys.is_empty()).then_some((pack, keys))
    };
    let read: Vec<_> = items.iter().map(place).collect::<Option<_>>()?;
    let ascends = read.windows(2).all(|pair| pair[0].0 < pair[1].0);
    ascends.then(|| read.into_iter().collect())
}
