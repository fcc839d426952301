use openarchive_domain::{Digest, RetentionClass};
use serde_json::{Value, json};

use super::{LeafError, Stamped, VERSION, fields::Fields, fields::plain, key_of, parse_uuid_text, uuid_text};
use crate::origin::TenantOrArchive;

/// Longest object version id, in bytes (that of S3).
pub const VERSION_ID_BYTES_MAX: usize = 1024;

/// One pack object: what was written, and under which version it is addressed for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackLeaf {
    pub tenant: TenantOrArchive,
    pub class: RetentionClass,
    /// The pack's id, a UUIDv7.
    pub pack: [u8; 16],
    /// Of the whole object.
    pub sha256: Digest,
    /// What the object store calls this version: 1 to 1,024 visible ASCII characters.
    pub version_id: String,
}

impl PackLeaf {
    pub const KIND: &'static str = "pack";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "class": self.class.to_string(),
            "kind": Self::KIND,
            "pack": uuid_text(&self.pack),
            "sha256": self.sha256.to_string(),
            "tenant": self.tenant.as_str(),
            "v": VERSION,
            "version_id": self.version_id,
        })
    }

    /// Reads the bytes of a leaf, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        Ok(Self {
            tenant: fields.string("tenant", "a tenant's name or _", |text| text.parse().ok())?,
            class: fields.string("class", "a retention class", |text| text.parse().ok())?,
            pack: fields.string("pack", "a UUID in lowercase with hyphens", parse_uuid_text)?,
            sha256: fields.string("sha256", "sha256: and 64 lowercase hex digits", |text| {
                text.parse().ok().filter(|digest: &Digest| digest.to_string() == text)
            })?,
            version_id: fields.string("version_id", "1 to 1024 visible ASCII characters", |text| {
                plain(text, VERSION_ID_BYTES_MAX)
            })?,
        })
    }

    /// By the pack: ids are never used twice.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({ "kind": Self::KIND, "pack": uuid_text(&self.pack) }))
    }
}
