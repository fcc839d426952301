//! The key file: the wrapped DEKs of one pack, `"OAKF" 01 | kek version u32 | count u32 | 40 bytes each`.
//!
//! Entry 0 is the footer's key, the others follow in footer order. 40 zero bytes are a shredded entry. Big-endian.

use crate::{WRAPPED_KEY_BYTES, WrappedKey, pack::PACK_ENTRIES_MAX};

const MAGIC: [u8; 5] = *b"OAKF\x01";
const HEADER_BYTES: usize = MAGIC.len() + 4 + 4;
const SHREDDED: WrappedKey = [0; WRAPPED_KEY_BYTES];

/// Entries of one key file, at most: the footer's and one for each blob.
pub const KEY_FILE_ENTRIES_MAX: usize = PACK_ENTRIES_MAX + 1;
/// Bytes of a key file, at most.
pub const KEY_FILE_BYTES_MAX: usize = HEADER_BYTES + KEY_FILE_ENTRIES_MAX * WRAPPED_KEY_BYTES;

/// Why a key file is not readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("this is not a key file of version 1 (it begins with other bytes)")]
    NotAKeyFile,
    #[error("the key file declares {count} entries and has {bytes} bytes; the two do not agree")]
    Length { count: u32, bytes: usize },
    #[error("the key file has {count} entries, it must have 1 to {KEY_FILE_ENTRIES_MAX}")]
    Count { count: usize },
}

/// The wrapped keys of one pack. `Debug` of wrapped keys prints ciphertext only, yet do not log them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Version of the KEK whose wrapping key all entries are wrapped under.
    pub kek_version: u32,
    /// Entry 0 is the footer's; `None` is a shredded entry.
    pub entries: Vec<Option<WrappedKey>>,
}

impl KeyFile {
    pub fn encode(&self) -> Result<Vec<u8>, KeyFileError> {
        check_count(self.entries.len())?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.entries.len() * WRAPPED_KEY_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.kek_version.to_be_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(entry.as_ref().unwrap_or(&SHREDDED));
        }
        Ok(bytes)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(KeyFileError::NotAKeyFile)?;
        let (kek_version, rest) = rest.split_first_chunk().ok_or(KeyFileError::NotAKeyFile)?;
        let (count, keys) = rest.split_first_chunk().ok_or(KeyFileError::NotAKeyFile)?;
        let count = u32::from_be_bytes(*count);
        check_count(count as usize)?;
        let (keys, rest) = keys.as_chunks::<WRAPPED_KEY_BYTES>();
        if keys.len() != count as usize || !rest.is_empty() {
            return Err(KeyFileError::Length { count, bytes: bytes.len() });
        }
        let entries = keys.iter().map(|key| (*key != SHREDDED).then_some(*key)).collect();
        Ok(Self { kek_version: u32::from_be_bytes(*kek_version), entries })
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shredded = self.entries.iter().filter(|entry| entry.is_none()).count();
        f.debug_struct("KeyFile")
            .field("kek_version", &self.kek_version)
            .field("entries", &self.entries.len())
            .field("shredded", &shredded)
            .finish()
    }
}

fn check_count(count: usize) -> Result<(), KeyFileError> {
    if (1..=KEY_FILE_ENTRIES_MAX).contains(&count) { Ok(()) } else { Err(KeyFileError::Count { count }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_the_documented_one_and_a_shredded_key_is_40_zero_bytes() {
        let file = KeyFile { kek_version: 7, entries: vec![Some([1; 40]), None] };
        let mut expected = b"OAKF\x01\0\0\0\x07\0\0\0\x02".to_vec();
        expected.extend([1; 40]);
        expected.extend([0; 40]);
        assert_eq!(file.encode().unwrap(), expected);
        assert_eq!(KeyFile::decode(&expected).unwrap(), file);
        assert_eq!(format!("{file:?}"), "KeyFile { kek_version: 7, entries: 2, shredded: 1 }");
    }

    #[test]
    fn anything_but_the_exact_bytes_is_refused() {
        let good = KeyFile { kek_version: 1, entries: vec![Some([1; 40])] }.encode().unwrap();
        let check = |change: fn(&mut Vec<u8>), expected: KeyFileError| {
            let mut bytes = good.clone();
            change(&mut bytes);
            assert_eq!(KeyFile::decode(&bytes), Err(expected));
        };
        check(|b| b.truncate(12), KeyFileError::NotAKeyFile);
        check(|b| b[4] = 2, KeyFileError::NotAKeyFile);
        check(|b| b.push(0), KeyFileError::Length { count: 1, bytes: 54 });
        check(|b| b[12] = 2, KeyFileError::Length { count: 2, bytes: 53 });
        check(|b| b[12] = 0, KeyFileError::Count { count: 0 });
        check(|b| b[9] = 1, KeyFileError::Count { count: 0x0100_0001 });
    }

    #[test]
    fn a_key_file_has_at_least_the_footers_key_and_at_most_one_more_than_a_pack_has_blobs() {
        let sized = |count| KeyFile { kek_version: 1, entries: vec![None; count] };
        assert_eq!(sized(0).encode(), Err(KeyFileError::Count { count: 0 }));
        let largest = sized(KEY_FILE_ENTRIES_MAX);
        let bytes = largest.encode().unwrap();
        assert_eq!(bytes.len(), KEY_FILE_BYTES_MAX);
        assert_eq!(KeyFile::decode(&bytes).unwrap(), largest);
        let one_more = KEY_FILE_ENTRIES_MAX + 1;
        assert_eq!(sized(one_more).encode(), Err(KeyFileError::Count { count: one_more }));
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_gives_a_key_file_that_encodes_back_or_an_error(version: u32, seeds: Vec<u8>, cut: bool) {
            let entries = seeds.iter().map(|seed| (seed % 4 != 0).then_some([*seed; 40])).collect();
            let file = KeyFile { kek_version: version, entries };
            let Ok(mut bytes) = file.encode() else { return Ok(()) };
            prop_assert_eq!(KeyFile::decode(&bytes), Ok(file));
            if cut {
                bytes.pop();
                prop_assert!(KeyFile::decode(&bytes).is_err());
            }
        }
    }
}
