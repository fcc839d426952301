use std::{fmt, str::FromStr};

use openarchive_domain::ParseError;

/// Longest key, in bytes. S3 allows 1024; the rest is room for a bucket prefix.
pub const KEY_BYTES_MAX: usize = 900;
/// Longest segment of a key, in bytes (file names on common file systems).
pub const SEGMENT_BYTES_MAX: usize = 255;

/// The name of an object: segments of `A-Z a-z 0-9 . _ -` joined by `/`. No segment is empty or begins with a dot, so
/// none is `.` or `..` and none is hidden.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        if text.len() <= KEY_BYTES_MAX && text.split('/').all(is_segment) {
            return Ok(Self(text));
        }
        let expected = "at most 900 bytes: segments of A-Z a-z 0-9 . _ - (at most 255 bytes, no leading dot) joined by /";
        Err(ParseError::new("object key", text, expected))
    }
}

fn is_segment(segment: &str) -> bool {
    (1..=SEGMENT_BYTES_MAX).contains(&segment.len())
        && !segment.starts_with('.')
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_never_leave_its_root_or_hide_in_it() {
        let long = "x".repeat(SEGMENT_BYTES_MAX);
        let too_long = "x".repeat(SEGMENT_BYTES_MAX + 1);
        for good in
            ["a", "packs/_/10y-received-forbidden/2026/01/id.enc", "tile/0/x001/067.p/8", "A_b-c.d", &long]
        {
            assert!(good.parse::<ObjectKey>().is_ok(), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", ".tmp/x", "a/.b", "a b", "a\\b", "a\0",
            "ä", "a%2e", &too_long,
        ] {
            assert!(bad.parse::<ObjectKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_has_at_most_900_bytes() {
        let key = |bytes: usize| "abcdefghi/".repeat(100)[..bytes].to_owned();
        assert!(ObjectKey::try_from(key(KEY_BYTES_MAX - 1)).is_ok());
        assert!(ObjectKey::try_from(key(KEY_BYTES_MAX - 2) + "xy").is_ok());
        assert!(ObjectKey::try_from(key(KEY_BYTES_MAX - 1) + "xy").is_err());
    }
}
