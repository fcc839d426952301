use super::TILE_WIDTH;

/// Longest entry: its length is written in two bytes.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Bytes that are no entry bundle, or entries that make none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("entry {position} of the bundle has {bytes} bytes: at most {ENTRY_BYTES_MAX} are allowed")]
    EntryTooLong { position: usize, bytes: usize },
    #[error("the bundle holds {found} entries where {expected} are expected (1 to {TILE_WIDTH})")]
    EntryCount { found: usize, expected: usize },
    #[error("the bundle ends within entry {position}")]
    Truncated { position: usize },
}

/// Entries one after the other, each after its length as a big-endian u16. One to 256 of them.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    let width_max = usize::from(TILE_WIDTH);
    if entries.is_empty() || entries.len() > width_max {
        return Err(BundleError::EntryCount { found: entries.len(), expected: width_max });
    }
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for (position, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len())
            .map_err(|_| BundleError::EntryTooLong { position, bytes: entry.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle of exactly `width` entries, with nothing after the last.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let expected = usize::from(width);
    let mut entries = Vec::with_capacity(expected);
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() == expected {
            return Err(BundleError::EntryCount { found: expected + 1, expected });
        }
        let truncated = BundleError::Truncated { position: entries.len() };
        let (length, after) = rest.split_first_chunk::<2>().ok_or(truncated)?;
        let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(truncated)?;
        entries.push(entry);
        rest = after;
    }
    if entries.len() == expected {
        Ok(entries)
    } else {
        Err(BundleError::EntryCount { found: entries.len(), expected })
    }
}
