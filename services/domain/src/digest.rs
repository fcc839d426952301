use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::ParseError;

/// A SHA-256 digest (FIPS 180-4), 32 bytes. Written `sha256:<64 lowercase hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lowercase hex digits, without the `sha256:` prefix.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Parses 64 hex digits without prefix.
    pub fn from_hex(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| {
            ParseError::new("digest", text, "64 hex digits, with or without the prefix sha256:")
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = ParseError;

    fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| ParseError::new("digest", format!("{} bytes", bytes.len()), "exactly 32 bytes"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_hex(text.strip_prefix("sha256:").unwrap_or(text))
    }
}

/// Incremental SHA-256 that also counts the bytes it has seen.
#[derive(Clone, Default)]
pub struct DigestHasher {
    inner: Sha256,
    length: u64,
}

impl DigestHasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes hashed so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    pub fn finish(self) -> Digest {
        Digest(self.inner.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_with_its_algorithm_and_reads_back() {
        let digest = Digest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(digest));
        assert_eq!(text["sha256:".len()..].parse::<Digest>(), Ok(digest));
        assert!("sha256:00".parse::<Digest>().is_err());
    }

    #[test]
    fn hashing_in_pieces_gives_the_digest_of_the_whole() {
        let mut hasher = DigestHasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.length(), 3);
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
    }
}
