use openarchive_domain::Digest;
use serde_json::{Value, json};

use super::{LeafError, Stamped, VERSION, fields::Fields, key_of};
use crate::{note::Verifier, origin::Origin};

/// Where the keys of the archive live and who vouches for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustMode {
    /// Software keys that nobody vouches for.
    NonQualified,
    /// Keys in a token, with a certificate of a qualified trust service.
    Qualified,
}

impl TrustMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NonQualified => "non_qualified",
            Self::Qualified => "qualified",
        }
    }
}

/// Leaf 0 of a log: what the log says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstLeaf {
    pub origin: Origin,
    pub trust_mode: TrustMode,
    /// The key that signs the log's checkpoints; its name is the origin.
    pub log_key: Verifier,
    /// Digest of the seal certificate; none while the archive has no seals.
    pub seal_certificate: Option<Digest>,
}

impl FirstLeaf {
    pub const KIND: &'static str = "log";

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "kind": Self::KIND,
            "log_key": self.log_key.to_string(),
            "origin": self.origin.to_string(),
            "seal_certificate": self.seal_certificate.map(|digest| digest.to_string()),
            "trust_mode": self.trust_mode.as_str(),
            "v": VERSION,
        })
    }

    /// Reads the bytes of a leaf, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        Fields::parse(bytes, Self::KIND, Self::from_fields)
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, LeafError> {
        let origin: Origin = fields.string("origin", "the origin of a log", |text| text.parse().ok())?;
        let own = |text: &str| text.parse().ok().filter(|key: &Verifier| key.name() == origin.to_string());
        Ok(Self {
            log_key: fields.string("log_key", "a verifier key named like the origin", own)?,
            trust_mode: fields.string("trust_mode", "non_qualified or qualified", |text| {
                [TrustMode::NonQualified, TrustMode::Qualified].into_iter().find(|mode| mode.as_str() == text)
            })?,
            seal_certificate: fields.string_or_null("seal_certificate", "a digest or null", |text| {
                text.parse().ok().filter(|digest: &Digest| digest.to_string() == text)
            })?,
            origin,
        })
    }

    /// By the origin: a log has one leaf 0.
    pub fn idempotency_key(&self) -> Digest {
        key_of(&json!({ "kind": Self::KIND, "origin": self.origin.to_string() }))
    }
}
