//! What the archive reads back from object stores, which it does not trust.

use openarchive_domain::Digest;
use openarchive_envelope::{
    BlobContext, BlobKind, BlobOpener, BlobScope, Dek, SALT_BYTES, Sealer,
    key_file::KeyFile,
    open_blob,
    pack::{Footer, PACK_TRAILER_BYTES, locate_footer},
};
use openarchive_ingest::ObservationRecord;
use openarchive_mail::{MESSAGE_BYTES_MAX, Segment, Skeleton};

/// What reads as a skeleton was written by us, and is no bomb.
pub(crate) fn skeleton(input: &[u8]) {
    let Ok(skeleton) = Skeleton::decode(input) else { return };
    assert!(skeleton.encode() == input, "a second writing of one skeleton");
    let length: u64 = skeleton.segments().iter().map(Segment::length).sum();
    assert_eq!(length, skeleton.message_length());
    assert!(length <= MESSAGE_BYTES_MAX);
    let verbatim: usize = skeleton
        .segments()
        .iter()
        .map(|segment| if let Segment::Verbatim(bytes) = segment { bytes.len() } else { 0 })
        .sum();
    assert!(verbatim <= input.len(), "more verbatim bytes than were there");
}

/// What is sealed opens, with any byte changed it does not, and what nobody sealed never does.
///
/// The first two bytes choose the byte that is changed; the rest is the content.
pub(crate) fn blob(input: &[u8]) {
    let dek = Dek::new([7; 32]);
    let context = |digest| BlobContext::new(BlobScope::Archive, BlobKind::Part, digest);
    let foreign = open_blob(&dek, &context(Digest::of(b"")), input, 1 << 20);
    assert!(foreign.is_err(), "what nobody sealed opens");

    let [high, low, raw @ ..] = input else { return };
    let context = context(Digest::of(raw));
    let mut body = Vec::new();
    let sealed =
        Sealer::new().and_then(|mut sealer| sealer.seal(&dek, [9; SALT_BYTES], &context, raw, &mut body));
    assert!(sealed.is_ok());
    let opened = open_blob(&dek, &context, &body, raw.len() as u64);
    assert!(opened.is_ok_and(|opened| opened == raw), "what was sealed does not open");
    if !raw.is_empty() {
        assert!(open_blob(&dek, &context, &body, raw.len() as u64 - 1).is_err(), "the bound does not hold");
    }
    let at = usize::from(u16::from_be_bytes([*high, *low])) % body.len();
    body[at] ^= 1 + (high >> 1);
    let mut out = Vec::new();
    let opened = BlobOpener::new(&dek, &context, raw.len() as u64).and_then(|mut opener| {
        for piece in body.chunks(1000) {
            opener.feed(piece, &mut out)?;
        }
        opener.finish(&mut out)
    });
    assert!(opened.is_err(), "a changed byte was not noticed");
    assert!(raw.starts_with(&out), "bytes came out that nobody put in");
}

/// What reads as a footer is written so, and its bodies follow one another.
pub(crate) fn pack_footer(input: &[u8]) {
    if let Some((before, last)) = input.split_last_chunk::<PACK_TRAILER_BYTES>()
        && let Ok(place) = locate_footer(input.len() as u64, *last)
    {
        assert!(place.offset + place.length <= before.len() as u64);
    }
    let Ok(footer) = Footer::decode(input) else { return };
    assert_eq!(footer.encode(), input);
    let mut again = Footer::default();
    for entry in footer.entries() {
        assert_eq!(again.push(entry.kind, entry.digest, entry.length).ok(), Some(*entry));
    }
    assert_eq!(again.bodies_end(), footer.bodies_end());
}

pub(crate) fn key_file(input: &[u8]) {
    let Ok(file) = KeyFile::decode(input) else { return };
    assert!(file.encode().is_ok_and(|written| written == input), "a second writing of one key file");
}

pub(crate) fn observation(input: &[u8]) {
    let Ok(record) = ObservationRecord::decode(input) else { return };
    assert!(record.encode() == input, "a second writing of one observation");
    let leaf = record.leaf(openarchive_ledger::leaf::MessageState::Stored);
    // What was quarantined was not stored; either way it must be possible to ask.
    let _ = record.opens(&leaf);
}
