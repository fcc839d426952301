use std::collections::BTreeSet;

use openarchive_domain::Timestamp;
use serde_json::{Map, Value};

use super::{LEAF_BYTES_MAX, LeafError, Stamped, VERSION};
use crate::{checkpoint::parse_decimal, commitment::Commitment, jcs};

pub(super) const TIME: &str = "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ";

/// The fields of a leaf that is being read. Each is taken out once; one that is left over is refused.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads canonical JSON only: any other writing of the same content (spaces, a key twice) would let two readers
    /// see two things in one leaf.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLong { bytes: bytes.len() });
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| LeafError::NotAnObject)?;
        if jcs::canonicalize(&value)?.as_bytes() != bytes {
            return Err(LeafError::NotCanonical);
        }
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(LeafError::NotAnObject),
        }
    }

    pub(super) fn kind(&self) -> Option<&str> {
        self.0.get("kind").and_then(Value::as_str)
    }

    /// Reads a whole leaf of `kind`.
    pub(super) fn parse<L>(
        bytes: &[u8],
        kind: &'static str,
        leaf: impl FnOnce(&mut Self) -> Result<L, LeafError>,
    ) -> Result<Stamped<L>, LeafError> {
        let fields = Self::read(bytes)?;
        match fields.kind() {
            Some(found) if found == kind => fields.stamped(leaf),
            Some(_) => Err(LeafError::OtherKind { expected: kind }),
            None => Err(LeafError::Missing("kind")),
        }
    }

    /// Takes version, kind and time, leaves the rest to `leaf`, and refuses what that leaves over.
    pub(super) fn stamped<L>(
        mut self,
        leaf: impl FnOnce(&mut Self) -> Result<L, LeafError>,
    ) -> Result<Stamped<L>, LeafError> {
        if self.take("v")?.as_u64() != Some(VERSION) {
            return Err(LeafError::Field { field: "v", expected: "the version 1" });
        }
        self.take("kind")?;
        let time = self.time("time")?;
        let leaf = leaf(&mut self)?;
        if self.0.is_empty() { Ok(Stamped { leaf, time }) } else { Err(LeafError::UnknownField) }
    }

    fn take(&mut self, field: &'static str) -> Result<Value, LeafError> {
        self.0.remove(field).ok_or(LeafError::Missing(field))
    }

    /// A string that `read` makes sense of.
    pub(super) fn string<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, LeafError> {
        let value = self.take(field)?;
        value.as_str().and_then(read).ok_or(LeafError::Field { field, expected })
    }

    /// A string that `read` makes sense of, or null.
    pub(super) fn string_or_null<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, LeafError> {
        if self.0.get(field).is_some_and(Value::is_null) {
            self.take(field)?;
            return Ok(None);
        }
        self.string(field, expected, read).map(Some)
    }

    /// A list that `read` makes sense of.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&[Value]) -> Option<T>,
    ) -> Result<T, LeafError> {
        let value = self.take(field)?;
        value.as_array().and_then(|items| read(items)).ok_or(LeafError::Field { field, expected })
    }

    pub(super) fn time(&mut self, field: &'static str) -> Result<Timestamp, LeafError> {
        self.string(field, TIME, |text| text.parse().ok())
    }

    pub(super) fn decimal(&mut self, field: &'static str) -> Result<u64, LeafError> {
        self.string(field, "a decimal number in a string", parse_decimal)
    }

    pub(super) fn commitment(&mut self, field: &'static str) -> Result<Commitment, LeafError> {
        self.string(field, "the base64 of 32 bytes", Commitment::from_base64)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }
}

/// A name out of a closed alphabet, so that no personal data finds its way into a leaf by mistake: no `@`, no spaces.
pub(super) fn plain(text: &str, bytes_max: usize) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'"' | b'\\' | b'<' | b'>');
    let fits = !text.is_empty() && text.len() <= bytes_max;
    (fits && text.bytes().all(allowed)).then(|| text.to_owned())
}

/// A list without order or doubles of its own: each item is greater than the one before.
pub(super) fn ascending<T: Ord + Copy>(
    items: &[Value],
    read: impl Fn(&Value) -> Option<T>,
) -> Option<BTreeSet<T>> {
    let read: Vec<T> = items.iter().map(read).collect::<Option<_>>()?;
    let ascends = read.windows(2).all(|pair| pair[0] < pair[1]);
    ascends.then(|| read.into_iter().collect())
}

/// Sixteen bytes as a UUID is written (RFC 9562 section 4): lowercase, with hyphens.
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Reads what [`uuid_text`] writes, and no other writing of it.
pub fn parse_uuid_text(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut bytes).ok()?;
    (uuid_text(&bytes) == text).then_some(bytes)
}
