//! Blobs as the rest of the archive uses them: known answers of other software, inverse functions, refusals.

#![expect(clippy::unwrap_used, reason = "a test may stop where it finds the unexpected")]

use std::io;

use openarchive_domain::Digest;
use openarchive_envelope::{
    BLOB_FRAME_BYTES, BlobContext, BlobKind, BlobOpener, BlobScope, BlobSealer, CHUNK_BYTES, Codec, Dek,
    HEADER_BYTES, OpenError, Salt, SealError, Sealer, TAG_BYTES, WrappingKey, open_blob, seal_blob,
    sealed_length,
};
use proptest::prelude::*;

const SALT: Salt = [5; 24];

fn dek() -> Dek {
    Dek::new([1; 32])
}

fn part(raw: &[u8]) -> BlobContext {
    BlobContext::new("acme".parse().unwrap(), BlobKind::Part, Digest::of(raw))
}

/// i * 31 + 7, modulo 256: repeats, so it also compresses.
fn counting(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + 7) as u8).collect()
}

/// Does not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn seal_in_pieces(context: &BlobContext, raw: &[u8], codec: Codec, piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sealer = BlobSealer::new(&dek(), SALT, context, raw.len() as u64, codec).unwrap();
    for piece in raw.chunks(piece) {
        sealer.feed(piece, &mut out).unwrap();
    }
    sealer.finish(&mut out).unwrap();
    out
}

fn open_in_pieces(
    context: &BlobContext,
    body: &[u8],
    limit: u64,
    piece: usize,
) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    let mut opener = BlobOpener::new(&dek(), context, limit)?;
    for piece in body.chunks(piece) {
        opener.feed(piece, &mut out)?;
    }
    let length = opener.finish(&mut out)?;
    assert_eq!(length, out.len() as u64);
    Ok(out)
}

mod known_answers {
    use super::*;

    fn vectors(list: &str) -> Vec<serde_json::Value> {
        let all: serde_json::Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
        all[list].as_array().unwrap().clone()
    }

    fn bytes<const N: usize>(vector: &serde_json::Value, field: &str) -> [u8; N] {
        hex::decode(vector[field].as_str().unwrap()).unwrap().try_into().unwrap()
    }

    #[test]
    fn bodies_are_the_ones_that_pypi_cryptography_makes_and_opens() {
        for vector in vectors("blobs") {
            let name = vector["name"].as_str().unwrap();
            let raw = counting(vector["raw_length"].as_u64().unwrap() as usize);
            let dek = Dek::new(bytes(&vector, "dek"));
            let context = BlobContext::new(
                vector["scope"].as_str().unwrap().parse().unwrap(),
                vector["kind"].as_str().unwrap().parse().unwrap(),
                Digest::from_bytes(bytes(&vector, "digest")),
            );
            if vector["codec"] == 0 {
                let length = raw.len() as u64;
                let mut sealer =
                    BlobSealer::new(&dek, bytes(&vector, "salt"), &context, length, Codec::None).unwrap();
                let mut body = Vec::new();
                sealer.feed(&raw, &mut body).unwrap();
                sealer.finish(&mut body).unwrap();
                assert_eq!(body.len() as u64, vector["body_length"], "{name}");
                assert_eq!(Digest::of(&body).hex(), vector["body_sha256"], "{name}");
            }
            if let Some(body) = vector["body"].as_str() {
                let opened =
                    open_blob(&dek, &context, &hex::decode(body).unwrap(), raw.len() as u64).unwrap();
                assert!(opened == raw, "{name}");
            }
        }
    }

    #[test]
    fn wrapped_keys_are_the_ones_that_pypi_cryptography_makes() {
        for vector in vectors("wraps") {
            let (wrapping, dek) =
                (WrappingKey::new(bytes(&vector, "wrapping_key")), Dek::new(bytes(&vector, "key")));
            assert_eq!(wrapping.wrap(&dek), bytes(&vector, "wrapped"));
            assert_eq!(wrapping.unwrap(&bytes(&vector, "wrapped")), Ok(dek));
        }
    }
}

#[test]
fn a_body_opens_to_the_raw_bytes_at_every_border_of_a_chunk() {
    for chunks in 0..3 {
        for delta in -2i64..=2 {
            let Ok(length) = usize::try_from((chunks * CHUNK_BYTES) as i64 - BLOB_FRAME_BYTES as i64 + delta)
            else {
                continue;
            };
            let raw = noise(length);
            let body = seal_in_pieces(&part(&raw), &raw, Codec::None, 1000);
            assert_eq!(body.len() as u64, sealed_length((BLOB_FRAME_BYTES + length) as u64));
            assert!(open_in_pieces(&part(&raw), &body, length as u64, 777).unwrap() == raw, "{length}");
        }
    }
}

#[test]
fn the_whole_body_form_takes_the_shorter_codec() {
    let check = |raw: &[u8], smaller: bool| {
        let body = seal_blob(&dek(), SALT, &part(raw), raw).unwrap();
        let plain = sealed_length((BLOB_FRAME_BYTES + raw.len()) as u64);
        assert_eq!((body.len() as u64) < plain, smaller);
        assert!(body.len() as u64 <= plain);
        assert!(open_blob(&dek(), &part(raw), &body, raw.len() as u64).unwrap() == raw);
    };
    check(b"", false);
    check(b"abc", false);
    check(&noise(1000), false);
    check(&noise(600_000), false);
    check(&counting(1000), true);
    check(&counting(600_000), true);
}

#[test]
fn one_sealer_seals_many_blobs_independently() {
    let mut sealer = Sealer::new().unwrap();
    let mut pack = Vec::new();
    let blobs: Vec<_> = [0, 5000, 10, 70_000].map(counting).into();
    let mut ends = Vec::new();
    for raw in &blobs {
        sealer.seal(&dek(), SALT, &part(raw), raw, &mut pack).unwrap();
        ends.push(pack.len());
    }
    let mut start = 0;
    for (raw, end) in blobs.iter().zip(ends) {
        assert!(open_blob(&dek(), &part(raw), &pack[start..end], 70_000).unwrap() == *raw);
        start = end;
    }
}

#[test]
fn a_changed_bit_anywhere_is_found() {
    let raw = noise(40);
    let body = seal_blob(&dek(), SALT, &part(&raw), &raw).unwrap();
    for bit in 0..body.len() * 8 {
        let mut broken = body.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let error = open_blob(&dek(), &part(&raw), &broken, 40).unwrap_err();
        let expected = if bit / 8 < HEADER_BYTES {
            matches!(error, OpenError::WrongKeyOrContext)
        } else {
            matches!(error, OpenError::Tampered { chunk: 0 })
        };
        assert!(expected, "bit {bit}: {error}");
    }
}

#[test]
fn no_byte_of_a_chunk_leaves_before_that_chunk_is_verified() {
    let raw = noise(3 * CHUNK_BYTES);
    let mut body = seal_in_pieces(&part(&raw), &raw, Codec::None, 4096);
    body[HEADER_BYTES + CHUNK_BYTES + TAG_BYTES + 100] ^= 1;
    let mut out = Vec::new();
    let mut opener = BlobOpener::new(&dek(), &part(&raw), u64::MAX).unwrap();
    assert!(matches!(opener.feed(&body, &mut out), Err(OpenError::Tampered { chunk: 1 })));
    assert!(out == raw[..CHUNK_BYTES - BLOB_FRAME_BYTES]);
}

#[test]
fn a_body_cut_or_prolonged_anywhere_is_refused() {
    let raw = noise(CHUNK_BYTES + 10);
    let body = seal_in_pieces(&part(&raw), &raw, Codec::None, 4096);
    for length in 0..body.len() {
        assert!(open_blob(&dek(), &part(&raw), &body[..length], u64::MAX).is_err(), "{length}");
    }
    // A cut at the border of a chunk leaves only verified chunks: the missing short one tells.
    let border = HEADER_BYTES + CHUNK_BYTES + TAG_BYTES;
    assert!(matches!(open_blob(&dek(), &part(&raw), &body[..border], u64::MAX), Err(OpenError::Truncated)));
    let mut longer = body;
    longer.push(0);
    assert!(matches!(
        open_blob(&dek(), &part(&raw), &longer, u64::MAX),
        Err(OpenError::Tampered { chunk: 1 })
    ));
}

#[test]
fn chunks_swapped_between_places_are_refused() {
    let raw = noise(3 * CHUNK_BYTES);
    let mut body = seal_in_pieces(&part(&raw), &raw, Codec::None, 4096);
    let chunk = CHUNK_BYTES + TAG_BYTES;
    let (first, second) = body[HEADER_BYTES..].split_at_mut(chunk);
    first.swap_with_slice(&mut second[..chunk]);
    assert!(matches!(open_blob(&dek(), &part(&raw), &body, u64::MAX), Err(OpenError::Tampered { chunk: 0 })));
}

#[test]
fn another_key_tenant_kind_or_digest_does_not_open_a_body() {
    let raw = b"raw";
    let right = part(raw);
    let body = seal_blob(&dek(), SALT, &right, raw).unwrap();
    let refused = |dek: &Dek, context: &BlobContext| {
        matches!(open_blob(dek, context, &body, 100), Err(OpenError::WrongKeyOrContext))
    };
    assert!(!refused(&dek(), &right));
    assert!(refused(&Dek::new([2; 32]), &right));
    assert!(refused(&dek(), &BlobContext { scope: BlobScope::Archive, ..right.clone() }));
    assert!(refused(&dek(), &BlobContext { scope: "acme2".parse().unwrap(), ..right.clone() }));
    assert!(refused(&dek(), &BlobContext { kind: BlobKind::Skeleton, ..right.clone() }));
    assert!(refused(&dek(), &BlobContext { digest: Digest::of(b"other"), ..right }));
}

#[test]
fn the_declared_length_is_checked_before_the_payload_and_caps_it() {
    let raw = counting(100_000);
    let body = seal_blob(&dek(), SALT, &part(&raw), &raw).unwrap();
    assert!(body.len() < 5000, "this one is compressed");
    assert!(open_blob(&dek(), &part(&raw), &body, 100_000).is_ok());
    let mut out = Vec::new();
    let mut opener = BlobOpener::new(&dek(), &part(&raw), 99_999).unwrap();
    opener.feed(&body, &mut out).unwrap();
    let refused = opener.finish(&mut out);
    assert!(matches!(refused, Err(OpenError::TooLong { declared: 100_000, limit: 99_999 })));
    assert!(out.is_empty());
}

/// A writer that counts what it is given at once and fails at a limit, as a full channel would.
struct Narrow {
    largest: usize,
    left: usize,
}

impl io::Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blob_that_expands_a_lot_leaves_in_pieces_and_stops_with_its_reader() {
    let raw = vec![0; 10_000_000];
    let body = seal_blob(&dek(), SALT, &part(&raw), &raw).unwrap();
    assert!(body.len() < 5000);
    let open_into = |out: &mut Narrow| {
        let mut opener = BlobOpener::new(&dek(), &part(&raw), u64::MAX)?;
        opener.feed(&body, out)?;
        opener.finish(out)
    };
    let mut wide = Narrow { largest: 0, left: usize::MAX };
    assert_eq!(open_into(&mut wide).unwrap(), 10_000_000);
    assert!(wide.largest <= 64 * 1024);
    assert!(matches!(open_into(&mut Narrow { largest: 0, left: 1_000_000 }), Err(OpenError::Output(_))));
}

#[test]
fn content_that_has_not_its_digest_is_never_sealed() {
    let wrong = part(b"other");
    assert!(matches!(seal_blob(&dek(), SALT, &wrong, b"raw"), Err(SealError::DigestMismatch)));
    let mut sealer = BlobSealer::new(&dek(), SALT, &wrong, 3, Codec::Zstd).unwrap();
    sealer.feed(b"raw", &mut Vec::new()).unwrap();
    assert!(matches!(sealer.finish(&mut Vec::new()), Err(SealError::DigestMismatch)));
}

#[test]
fn a_stream_longer_or_shorter_than_declared_is_never_sealed() {
    let short = BlobSealer::new(&dek(), SALT, &part(b"raw"), 4, Codec::None).unwrap();
    assert!(matches!(short.finish(&mut Vec::new()), Err(SealError::LengthMismatch { declared: 4, fed: 0 })));
    let mut long = BlobSealer::new(&dek(), SALT, &part(b"raw"), 2, Codec::None).unwrap();
    let refused = long.feed(b"raw", &mut Vec::new());
    assert!(matches!(refused, Err(SealError::LengthMismatch { declared: 2, fed: 3 })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn opening_inverts_sealing_however_the_bytes_are_cut(
        seed in proptest::collection::vec(any::<u8>(), 1..500),
        repeats in 1usize..150,
        compress: bool,
        feed in 1usize..40_000,
        take in 1usize..40_000,
    ) {
        let raw = seed.repeat(repeats);
        let codec = if compress { Codec::Zstd } else { Codec::None };
        let body = seal_in_pieces(&part(&raw), &raw, codec, feed);
        prop_assert!(open_in_pieces(&part(&raw), &body, raw.len() as u64, take).unwrap() == raw);
        prop_assert_eq!(body.first_chunk(), Some(&SALT));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(body: Vec<u8>, take in 1usize..100) {
        prop_assert!(open_in_pieces(&part(b""), &body, 1000, take).is_err());
    }
}
