//! Leaves: canonical JSON without personal data. The bytes that [`stamp`] makes are what is stored and hashed, for
//! ever; they are parsed, never serialised again.

mod audit;
mod envelope;
mod fields;
mod first;
mod hold;
mod message;
mod pack;
mod quarantine;
mod resume;
mod shred;

#[cfg(test)]
mod tests;

pub use audit::{ACTION_BYTES_MAX, ACTOR_BYTES_MAX, AuditLeaf, REQUEST_BYTES_MAX};
pub use envelope::{Envelope, EnvelopeError};
pub use fields::{parse_uuid_text, uuid_text};
pub use first::{FirstLeaf, TrustMode};
pub use hold::{HOLD_NAME_BYTES_MAX, HoldAction, HoldLeaf};
pub use message::{MessageLeaf, MessageState};
pub use pack::{PackLeaf, VERSION_ID_BYTES_MAX};
pub use quarantine::QuarantineReleaseLeaf;
pub use resume::ResumeLeaf;
pub use shred::{ShredCause, ShredLeaf, ShredPlaces};

use openarchive_domain::{Digest, Timestamp};
use serde_json::Value;

use crate::jcs::{self, JcsError};
use fields::Fields;

/// Longest leaf, in bytes: what an entry bundle can hold.
pub const LEAF_BYTES_MAX: usize = 65_535;

/// Version of every leaf's form.
const VERSION: u64 = 1;

/// What is no leaf, or would make none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("the leaf has {bytes} bytes: at most {LEAF_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("the leaf is not a JSON object in UTF-8")]
    NotAnObject,
    #[error("the leaf is not canonical JSON (RFC 8785): its bytes are not those of its content")]
    NotCanonical,
    #[error("the leaf has no canonical form: {0}")]
    Jcs(#[from] JcsError),
    #[error("the leaf already carries a time: only the sequencer stamps one")]
    AlreadyStamped,
    #[error("the leaf lacks the field `{0}`")]
    Missing(&'static str),
    #[error("the leaf has a field that its kind does not know")]
    UnknownField,
    #[error("the leaf's field `{field}` is not {expected}")]
    Field { field: &'static str, expected: &'static str },
    #[error("the leaf is of another kind than `{expected}`")]
    OtherKind { expected: &'static str },
    #[error("the leaf is of a kind that this version does not know")]
    UnknownKind,
}

/// A leaf as it stands in the log: what its author said, and when the sequencer appended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped<L> {
    pub leaf: L,
    pub time: Timestamp,
}

/// Adds `time` to a leaf's body and answers the leaf's bytes. Any kind of body is taken: kinds are an open registry.
pub fn stamp(body: Value, time: Timestamp) -> Result<Vec<u8>, LeafError> {
    let Value::Object(mut fields) = body else { return Err(LeafError::NotAnObject) };
    let text = time.to_string();
    if text.parse() != Ok(time) {
        return Err(LeafError::Field { field: "time", expected: fields::TIME });
    }
    if fields.insert("time".to_owned(), Value::String(text)).is_some() {
        return Err(LeafError::AlreadyStamped);
    }
    let bytes = jcs::canonicalize(&Value::Object(fields))?.into_bytes();
    if bytes.len() > LEAF_BYTES_MAX {
        return Err(LeafError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// SHA-256 of the JCS of a leaf's identifying fields: the same leaf is never appended twice, and a rebuild finds the
/// same key in the leaf itself.
fn key_of(identity: &Value) -> Digest {
    let text = jcs::canonicalize(identity).expect("identifying fields are strings under ASCII keys");
    Digest::of(text.as_bytes())
}

/// A leaf of any known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyLeaf {
    Message(MessageLeaf),
    Pack(PackLeaf),
    Audit(AuditLeaf),
    First(FirstLeaf),
    Hold(HoldLeaf),
    Shred(ShredLeaf),
    Resume(ResumeLeaf),
    QuarantineRelease(QuarantineReleaseLeaf),
}

impl AnyLeaf {
    /// Reads a leaf of whatever kind it says it is.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        let fields = Fields::read(bytes)?;
        match fields.kind() {
            Some(MessageLeaf::KIND) => fields.stamped(|f| MessageLeaf::from_fields(f).map(Self::Message)),
            Some(PackLeaf::KIND) => fields.stamped(|f| PackLeaf::from_fields(f).map(Self::Pack)),
            Some(AuditLeaf::KIND) => fields.stamped(|f| AuditLeaf::from_fields(f).map(Self::Audit)),
            Some(FirstLeaf::KIND) => fields.stamped(|f| FirstLeaf::from_fields(f).map(Self::First)),
            Some(HoldLeaf::KIND) => fields.stamped(|f| HoldLeaf::from_fields(f).map(Self::Hold)),
            Some(ShredLeaf::KIND) => fields.stamped(|f| ShredLeaf::from_fields(f).map(Self::Shred)),
            Some(ResumeLeaf::KIND) => fields.stamped(|f| ResumeLeaf::from_fields(f).map(Self::Resume)),
            Some(QuarantineReleaseLeaf::KIND) => {
                fields.stamped(|f| QuarantineReleaseLeaf::from_fields(f).map(Self::QuarantineRelease))
            }
            Some(_) => Err(LeafError::UnknownKind),
            None => Err(LeafError::Missing("kind")),
        }
    }

    pub fn idempotency_key(&self) -> Digest {
        match self {
            Self::Message(leaf) => leaf.idempotency_key(),
            Self::Pack(leaf) => leaf.idempotency_key(),
            Self::Audit(leaf) => leaf.idempotency_key(),
            Self::First(leaf) => leaf.idempotency_key(),
            Self::Hold(leaf) => leaf.idempotency_key(),
            Self::Shred(leaf) => leaf.idempotency_key(),
            Self::Resume(leaf) => leaf.idempotency_key(),
            Self::QuarantineRelease(leaf) => leaf.idempotency_key(),
        }
    }
}
