//! The pack: one immutable object of many encrypted bodies, `"OAPK" 01 | bodies | footer | footer length u32`.
//!
//! The footer lists the bodies in their order and without gaps, and is itself an encrypted body of kind `footer`, so no
//! content digest stands in clear in a bucket. Integers are big-endian.

use openarchive_domain::Digest;

use crate::{BlobContext, BlobKind, BlobScope, Dek, OpenError, Salt, SealError, open_blob, seal_blob};

/// What every pack begins with: magic and version.
pub const PACK_HEADER: [u8; 5] = *b"OAPK\x01";
/// Bytes of the footer's length at the very end of a pack.
pub const PACK_TRAILER_BYTES: usize = 4;
/// Blobs in one pack, at most.
pub const PACK_ENTRIES_MAX: usize = 65_536;
/// Bytes of one entry of the footer.
pub const FOOTER_ENTRY_BYTES: usize = 1 + 32 + 8 + 8;
/// Raw bytes of a footer, at most.
pub const FOOTER_RAW_BYTES_MAX: usize = 4 + PACK_ENTRIES_MAX * FOOTER_ENTRY_BYTES;
/// Bytes of a sealed footer, at most; what a longer one declares is not read.
pub const FOOTER_BODY_BYTES_MAX: u64 =
    crate::sealed_length((crate::BLOB_FRAME_BYTES + FOOTER_RAW_BYTES_MAX) as u64);
/// Bytes of the shortest body: one chunk with an empty blob.
pub const BODY_BYTES_MIN: u64 = crate::sealed_length(crate::BLOB_FRAME_BYTES as u64);

/// Why a pack or its footer is not readable.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("this is not a pack of version 1 (it begins with other bytes)")]
    NotAPack,
    #[error("the pack's footer length {footer} does not fit a pack of {pack} bytes")]
    FooterLength { footer: u32, pack: u64 },
    #[error("the pack's footer does not open")]
    FooterBody(#[from] OpenError),
    #[error("the pack's footer could not be sealed")]
    FooterSeal(#[from] SealError),
    #[error("the pack's footer lists {count} blobs in {bytes} bytes; the two do not agree")]
    FooterCount { count: u32, bytes: usize },
    #[error("the pack holds {count} blobs, at most {PACK_ENTRIES_MAX} are allowed")]
    TooManyEntries { count: usize },
    #[error("entry {entry} of the pack's footer has kind code {code}, which no listed blob may have")]
    EntryKind { entry: usize, code: u8 },
    #[error("entry {entry} of the pack's footer does not stand right behind the entry before it")]
    EntryPlace { entry: usize },
    #[error("the pack's bodies end at byte {bodies_end}, but its footer begins at byte {footer_offset}")]
    Gap { bodies_end: u64, footer_offset: u64 },
}

/// Where a body stands in its pack, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterEntry {
    pub kind: BlobKind,
    /// SHA-256 of the raw bytes.
    pub digest: Digest,
    /// First byte of the body, counted from the start of the pack.
    pub offset: u64,
    /// Bytes of the encrypted body.
    pub length: u64,
}

/// The list of a pack's bodies, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    entries: Vec<FooterEntry>,
}

/// Where the sealed footer stands in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterPlace {
    pub offset: u64,
    pub length: u64,
}

/// The digest in a footer's context: SHA-256 of the 16 bytes of the pack's UUID.
pub fn footer_digest(pack_id: &[u8; 16]) -> Digest {
    Digest::of(pack_id)
}

/// The context that a pack's footer is sealed under.
pub fn footer_context(scope: &BlobScope, pack_id: &[u8; 16]) -> BlobContext {
    BlobContext::new(scope.clone(), BlobKind::Footer, footer_digest(pack_id))
}

/// Checks the first bytes of a pack.
pub fn check_header(first: &[u8; 5]) -> Result<(), PackError> {
    if *first == PACK_HEADER { Ok(()) } else { Err(PackError::NotAPack) }
}

/// Finds the footer from the pack's length and its last four bytes.
pub fn locate_footer(pack_length: u64, last: [u8; PACK_TRAILER_BYTES]) -> Result<FooterPlace, PackError> {
    let footer = u32::from_be_bytes(last);
    let length = u64::from(footer);
    let offset = pack_length.checked_sub(PACK_TRAILER_BYTES as u64 + length);
    match offset {
        Some(offset)
            if offset >= PACK_HEADER.len() as u64
                && (BODY_BYTES_MIN..=FOOTER_BODY_BYTES_MAX).contains(&length) =>
        {
            Ok(FooterPlace { offset, length })
        }
        _ => Err(PackError::FooterLength { footer, pack: pack_length }),
    }
}

impl Footer {
    pub fn entries(&self) -> &[FooterEntry] {
        &self.entries
    }

    /// The byte behind the last body: where the next body, or the footer, begins.
    pub fn bodies_end(&self) -> u64 {
        self.entries.last().map_or(PACK_HEADER.len() as u64, |last| last.offset + last.length)
    }

    /// Appends the body that was written at [`Self::bodies_end`]; returns its entry.
    pub fn push(&mut self, kind: BlobKind, digest: Digest, length: u64) -> Result<FooterEntry, PackError> {
        let entry = FooterEntry { kind, digest, offset: self.bodies_end(), length };
        self.check_next(&entry)?;
        self.entries.push(entry);
        Ok(entry)
    }

    fn check_next(&self, entry: &FooterEntry) -> Result<(), PackError> {
        let index = self.entries.len();
        if index >= PACK_ENTRIES_MAX {
            return Err(PackError::TooManyEntries { count: index + 1 });
        }
        if entry.kind == BlobKind::Footer {
            return Err(PackError::EntryKind { entry: index, code: entry.kind.code() });
        }
        let follows = entry.offset == self.bodies_end()
            && entry.length >= BODY_BYTES_MIN
            && entry.offset.checked_add(entry.length).is_some();
        if follows { Ok(()) } else { Err(PackError::EntryPlace { entry: index }) }
    }

    /// `count u32`, then per body `kind u8 | digest 32 | offset u64 | length u64`.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.entries.len() * FOOTER_ENTRY_BYTES);
        bytes.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for entry in &self.entries {
            bytes.push(entry.kind.code());
            bytes.extend_from_slice(entry.digest.as_bytes());
            bytes.extend_from_slice(&entry.offset.to_be_bytes());
            bytes.extend_from_slice(&entry.length.to_be_bytes());
        }
        bytes
    }

    /// Strict: exact length, known kinds, bodies in order without gap or overlap.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        let Some((count, listed)) = bytes.split_first_chunk::<4>() else {
            return Err(PackError::FooterCount { count: 0, bytes: bytes.len() });
        };
        let count = u32::from_be_bytes(*count);
        if count as usize > PACK_ENTRIES_MAX {
            return Err(PackError::TooManyEntries { count: count as usize });
        }
        let (entries, rest) = listed.as_chunks::<FOOTER_ENTRY_BYTES>();
        if entries.len() != count as usize || !rest.is_empty() {
            return Err(PackError::FooterCount { count, bytes: bytes.len() });
        }
        let mut footer = Self { entries: Vec::with_capacity(entries.len()) };
        for (index, bytes) in entries.iter().enumerate() {
            let entry = decode_entry(bytes).map_err(|code| PackError::EntryKind { entry: index, code })?;
            footer.check_next(&entry)?;
            footer.entries.push(entry);
        }
        Ok(footer)
    }

    /// The whole tail of a pack: `sealed footer | footer length u32`. Append it at [`Self::bodies_end`].
    pub fn seal_tail(
        &self,
        dek: &Dek,
        salt: Salt,
        scope: &BlobScope,
        pack_id: &[u8; 16],
    ) -> Result<Vec<u8>, PackError> {
        let mut tail = seal_blob(dek, salt, &footer_context(scope, pack_id), &self.encode())?;
        assert!(tail.len() as u64 <= FOOTER_BODY_BYTES_MAX, "the entry limit bounds the sealed footer");
        tail.extend_from_slice(&(tail.len() as u32).to_be_bytes());
        Ok(tail)
    }

    /// Opens the sealed footer that was read from `place` and checks that the bodies reach exactly up to it.
    pub fn open(
        dek: &Dek,
        scope: &BlobScope,
        pack_id: &[u8; 16],
        place: FooterPlace,
        body: &[u8],
    ) -> Result<Self, PackError> {
        let raw = open_blob(dek, &footer_context(scope, pack_id), body, FOOTER_RAW_BYTES_MAX as u64)?;
        let footer = Self::decode(&raw)?;
        let bodies_end = footer.bodies_end();
        if bodies_end == place.offset {
            Ok(footer)
        } else {
            Err(PackError::Gap { bodies_end, footer_offset: place.offset })
        }
    }
}

fn decode_entry(bytes: &[u8; FOOTER_ENTRY_BYTES]) -> Result<FooterEntry, u8> {
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[1..33]);
    let number = |from: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[from..from + 8]);
        u64::from_be_bytes(number)
    };
    let kind = BlobKind::from_code(bytes[0]).map_err(|unknown| unknown.0)?;
    Ok(FooterEntry { kind, digest: Digest::from_bytes(digest), offset: number(33), length: number(41) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACK_ID: [u8; 16] = *b"0123456789abcdef";

    fn footer_of(lengths: &[u64]) -> Footer {
        let mut footer = Footer::default();
        for (index, length) in lengths.iter().enumerate() {
            let kind = [BlobKind::Part, BlobKind::Skeleton, BlobKind::Observation][index % 3];
            footer.push(kind, Digest::of(&index.to_be_bytes()), BODY_BYTES_MIN + length).unwrap();
        }
        footer
    }

    /// A whole pack whose bodies are zeros: the footer does not look into them.
    fn pack_of(footer: &Footer, dek: &Dek, scope: &BlobScope) -> Vec<u8> {
        let mut pack = PACK_HEADER.to_vec();
        pack.resize(footer.bodies_end() as usize, 0);
        pack.extend(footer.seal_tail(dek, [9; 24], scope, &PACK_ID).unwrap());
        pack
    }

    fn read_footer(
        pack: &[u8],
        dek: &Dek,
        scope: &BlobScope,
        pack_id: &[u8; 16],
    ) -> Result<Footer, PackError> {
        check_header(pack.first_chunk().unwrap())?;
        let place = locate_footer(pack.len() as u64, *pack.last_chunk().unwrap())?;
        let body = &pack[place.offset as usize..][..place.length as usize];
        Footer::open(dek, scope, pack_id, place, body)
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let mut footer = Footer::default();
        footer.push(BlobKind::Part, Digest::from_bytes([0xAB; 32]), 0x0102).unwrap();
        let mut expected = vec![0, 0, 0, 1, 1];
        expected.extend([0xAB; 32]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(footer.encode(), expected);
        assert_eq!(PACK_HEADER, *b"OAPK\x01");
    }

    #[test]
    fn a_footer_is_found_and_opened_from_the_end_of_its_pack_and_of_no_other() {
        let (dek, scope) = (Dek::new([3; 32]), BlobScope::Archive);
        let footer = footer_of(&[0, 10, 3000]);
        let pack = pack_of(&footer, &dek, &scope);
        assert_eq!(read_footer(&pack, &dek, &scope, &PACK_ID).unwrap(), footer);
        let empty = Footer::default();
        assert_eq!(read_footer(&pack_of(&empty, &dek, &scope), &dek, &scope, &PACK_ID).unwrap(), empty);

        let other_tenant = "acme".parse().unwrap();
        for wrong in [
            read_footer(&pack, &Dek::new([4; 32]), &scope, &PACK_ID),
            read_footer(&pack, &dek, &other_tenant, &PACK_ID),
            read_footer(&pack, &dek, &scope, b"another pack's.."),
        ] {
            assert!(matches!(wrong, Err(PackError::FooterBody(OpenError::WrongKeyOrContext))));
        }
    }

    #[test]
    fn bytes_between_bodies_and_footer_are_refused() {
        let (dek, scope) = (Dek::new([3; 32]), BlobScope::Archive);
        let footer = footer_of(&[0]);
        let mut pack = pack_of(&footer, &dek, &scope);
        pack.insert(PACK_HEADER.len(), 0);
        assert!(matches!(read_footer(&pack, &dek, &scope, &PACK_ID), Err(PackError::Gap { .. })));
        pack[4] = 2;
        assert!(matches!(read_footer(&pack, &dek, &scope, &PACK_ID), Err(PackError::NotAPack)));
    }

    #[test]
    fn a_footer_length_that_does_not_fit_its_pack_is_refused_before_anything_is_read() {
        let fits = |pack: u64, footer: u64| locate_footer(pack, (footer as u32).to_be_bytes()).is_ok();
        let around = |footer: u64| PACK_HEADER.len() as u64 + footer + PACK_TRAILER_BYTES as u64;
        assert!(fits(around(BODY_BYTES_MIN), BODY_BYTES_MIN));
        assert!(!fits(around(BODY_BYTES_MIN) - 1, BODY_BYTES_MIN));
        assert!(!fits(1000, BODY_BYTES_MIN - 1));
        assert!(fits(around(FOOTER_BODY_BYTES_MAX), FOOTER_BODY_BYTES_MAX));
        assert!(!fits(u64::MAX, FOOTER_BODY_BYTES_MAX + 1));
        assert!(!fits(0, 0));
    }

    #[test]
    fn a_list_that_is_not_exactly_the_bodies_in_order_is_refused() {
        let good = footer_of(&[0, 1]).encode();
        let check = |change: fn(&mut Vec<u8>), expected: &str| {
            let mut bytes = good.clone();
            change(&mut bytes);
            let error = format!("{:?}", Footer::decode(&bytes).unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        };
        check(Vec::clear, "FooterCount");
        check(|b| b[3] = 1, "FooterCount");
        check(|b| b.push(0), "FooterCount");
        check(|b| b[0] = 1, "TooManyEntries");
        check(|b| b[4] = 0, "EntryKind { entry: 0, code: 0 }");
        check(|b| b[4] = BlobKind::Footer.code(), "EntryKind { entry: 0, code: 6 }");
        check(|b| b[4 + 40] = 6, "EntryPlace { entry: 0 }");
        check(|b| b[4 + FOOTER_ENTRY_BYTES + 40] += 1, "EntryPlace { entry: 1 }");
        check(|b| b[4 + 48] = 1, "EntryPlace { entry: 0 }");
        check(|b| b[4 + FOOTER_ENTRY_BYTES + 41..][..8].fill(0xFF), "EntryPlace { entry: 1 }");
    }

    #[test]
    fn a_pack_holds_at_most_65536_blobs_and_its_footer_stays_within_its_limit() {
        let mut full = footer_of(&vec![0; PACK_ENTRIES_MAX]);
        assert!(matches!(
            full.push(BlobKind::Part, Digest::of(b""), BODY_BYTES_MIN),
            Err(PackError::TooManyEntries { .. })
        ));
        assert_eq!(full.encode().len(), FOOTER_RAW_BYTES_MAX);
        let (dek, scope) = (Dek::new([3; 32]), BlobScope::Archive);
        assert_eq!(read_footer(&pack_of(&full, &dek, &scope), &dek, &scope, &PACK_ID).unwrap(), full);
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(lengths in proptest::collection::vec(0u64..1 << 40, 0..20)) {
            let footer = footer_of(&lengths);
            prop_assert_eq!(Footer::decode(&footer.encode()).unwrap(), footer);
        }

        #[test]
        fn decoding_any_bytes_gives_a_footer_that_encodes_back_or_an_error(bytes: Vec<u8>) {
            if let Ok(footer) = Footer::decode(&bytes) {
                prop_assert_eq!(footer.encode(), bytes);
            }
        }
    }
}
