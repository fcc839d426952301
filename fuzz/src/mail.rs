//! Mail and its containers.

use std::io::Cursor;

use openarchive_domain::{Digest, Timestamp};
use openarchive_mail::{
    Skeleton, SkeletonError, Split, Splitter, extract, join_in_memory,
    journal::{
        EnvelopeHeaderReader, JOURNALED_MAILS_MAX, JOURNALED_RECIPIENTS_MAX, ReportReader, TransferDecoder,
        TransferEncoding, unwrap_jrn_plus,
    },
    mbox::{FinalBreak, MboxEntry, MboxError, MboxReader, MboxWriter},
    split_in_memory,
    text::{ATTACHMENT_NAME_BYTES_MAX, BODY_TEXT_BYTES_MAX},
};

/// Sizes of pieces that input is fed in: a byte, odd lengths, more than a line.
const PIECES: [usize; 3] = [1, 7, 1000];

/// Taken apart and joined, mail is what it was, whatever pieces it came in; and its skeleton reads back.
pub(crate) fn split(input: &[u8]) {
    let (split, parts) = split_in_memory(input);
    assert_eq!((split.message, split.length), (Digest::of(input), input.len() as u64));
    let joined = join_in_memory(&split.skeleton, |digest| parts.get(digest).cloned());
    assert!(joined.as_deref() == Ok(input), "the message does not join to itself");
    let encoded = split.skeleton.encode();
    assert!(encoded.len() <= input.len() + 1024, "a skeleton of {} bytes", encoded.len());
    assert_eq!(Skeleton::decode(&encoded), Ok::<_, SkeletonError>(split.skeleton.clone()));
    for piece in PIECES {
        assert!(split_in_pieces(input, piece) == split, "pieces of {piece} bytes give another result");
    }
}

fn split_in_pieces(input: &[u8], piece: usize) -> Split {
    let mut splitter = Splitter::new(Nothing);
    for piece in input.chunks(piece) {
        let Ok(()) = splitter.feed(piece);
    }
    let Ok((split, Nothing)) = splitter.finish();
    split
}

/// Keeps no part.
struct Nothing;

impl openarchive_mail::PartSink for Nothing {
    type Error = std::convert::Infallible;

    fn begin(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn end(&mut self, _: &openarchive_mail::PartRef) -> Result<(), Self::Error> {
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A journal report says the same in any pieces, and the mails that it carries lie within it, in order.
pub(crate) fn exchange_report(input: &[u8]) {
    let read = |piece: usize| {
        let mut reader = ReportReader::default();
        input.chunks(piece).for_each(|piece| reader.feed(piece));
        reader.finish()
    };
    let whole = read(input.len().max(1));
    for piece in PIECES {
        assert_eq!(read(piece), whole, "pieces of {piece} bytes give another report");
    }
    let Ok(report) = whole else { return };
    assert!((1..=JOURNALED_MAILS_MAX).contains(&report.mails.len()));
    let to = report.envelope.to();
    assert!(!to.is_empty() && to.len() <= JOURNALED_RECIPIENTS_MAX && to.iter().all(|one| !one.is_empty()));
    let mut from = 0;
    for mail in &report.mails {
        assert!(from <= mail.range.start && mail.range.start <= mail.range.end, "{:?}", report.mails);
        assert!(mail.range.end <= input.len() as u64, "{:?}", report.mails);
        from = mail.range.end;
    }
}

/// The envelope in a header is the same in any pieces.
pub(crate) fn envelope_header(input: &[u8]) {
    let read = |piece: usize| {
        let mut reader = EnvelopeHeaderReader::default();
        let _ = input.chunks(piece).all(|piece| reader.feed(piece));
        reader.finish()
    };
    let whole = read(input.len().max(1));
    for piece in PIECES {
        assert_eq!(read(piece), whole, "pieces of {piece} bytes give another envelope");
    }
    if let Ok(envelope) = whole {
        assert!(!envelope.to.is_empty() && envelope.to.len() <= JOURNALED_RECIPIENTS_MAX);
    }
}

/// One recipient a line. What is unwrapped was inside what was wrapped.
pub(crate) fn jrn_plus(input: &[u8]) {
    let rcpt: Vec<String> = String::from_utf8_lossy(input).split('\n').map(str::to_owned).collect();
    if let Ok(unwrapped) = unwrap_jrn_plus(&rcpt) {
        assert!(!unwrapped.is_empty() && unwrapped.len() <= rcpt.len());
        assert!(unwrapped.iter().all(|address| address.contains('@')), "{unwrapped:?}");
    }
}

fn decode(encoding: TransferEncoding, input: &[u8], piece: usize) -> Option<Vec<u8>> {
    let (mut decoder, mut out) = (TransferDecoder::new(encoding), Vec::new());
    for piece in input.chunks(piece) {
        decoder.push(piece, &mut out).ok()?;
    }
    decoder.finish(&mut out).ok()?;
    assert!(out.len() <= input.len(), "decoding made {} bytes of {}", out.len(), input.len());
    Some(out)
}

fn decode_in_pieces(encoding: TransferEncoding, input: &[u8]) -> Option<Vec<u8>> {
    let whole = decode(encoding, input, input.len().max(1));
    for piece in PIECES {
        assert!(decode(encoding, input, piece) == whole, "pieces of {piece} bytes decode differently");
    }
    whole
}

/// What decodes encodes again to the same digits.
pub(crate) fn base64(input: &[u8]) {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    let Some(decoded) = decode_in_pieces(TransferEncoding::Base64, input) else { return };
    let digits: Vec<u8> = input.iter().copied().filter(|byte| !b" \t\r\n=".contains(byte)).collect();
    assert_eq!(STANDARD_NO_PAD.encode(decoded).as_bytes(), digits);
}

pub(crate) fn quoted_printable(input: &[u8]) {
    decode_in_pieces(TransferEncoding::QuotedPrintable, input);
}

/// Words for the index stay within their limits, and the mail that they came from is not needed in one way only.
pub(crate) fn text(input: &[u8]) {
    let found = extract(input);
    assert!(found.body.len() <= BODY_TEXT_BYTES_MAX);
    let names: usize = found.attachments.iter().map(String::len).sum();
    assert!(names <= ATTACHMENT_NAME_BYTES_MAX);
    assert!(found.attachments.is_empty() || found.has_attachment);
    let people = [&found.from, &found.to, &found.cc, &found.bcc, &found.others];
    let words: usize = people.into_iter().flatten().map(|one| one.name.len() + one.address.len()).sum();
    // No charset that we know makes more than four bytes of one, and no header field is read five times.
    assert!(words + found.subject.len() <= 16 * input.len() + 64, "{words} bytes of {}", input.len());
    assert_eq!(extract(input), found);
}

fn entries(input: &[u8], offset: u64) -> Vec<(MboxEntry, Vec<u8>)> {
    let Ok(reader) = MboxReader::resume_at(Cursor::new(input), offset) else { return Vec::new() };
    let mut read = Vec::new();
    for message in reader {
        match message {
            Ok(message) => read.push((message.entry, message.bytes)),
            Err(MboxError::NoFromLine { offset, next } | MboxError::TooLarge { offset, next, .. }) => {
                assert!(offset < next);
            }
            // A cursor does not fail.
            Err(MboxError::Io { .. }) => unreachable_io(),
        }
        assert!(read.len() <= input.len(), "more messages than bytes");
    }
    read
}

fn unreachable_io() {
    assert_eq!(0, 1, "reading from memory failed");
}

/// Messages stand one after the other, and reading goes on behind any of them as if it had never stopped.
pub(crate) fn mbox(input: &[u8]) {
    let all = entries(input, 0);
    let mut end = 0;
    for (entry, bytes) in &all {
        assert!(end <= entry.offset && entry.offset < entry.next && entry.next <= input.len() as u64);
        assert_eq!(entry.length, bytes.len() as u64);
        assert!(bytes.len() as u64 <= entry.next - entry.offset, "a message longer than its place");
        end = entry.next;
    }
    // Each of the first ones: quadratic otherwise.
    for (position, (entry, _)) in all.iter().enumerate().take(8) {
        assert!(entries(input, entry.next) == all[position + 1..], "resumed at {}", entry.next);
    }
}

/// What is written reads back, with messages before and behind it. Not so where the message itself brings a
/// Content-Length that happens to end at a `From ` line: a reader of two dialects believes it.
pub(crate) fn mbox_write(input: &[u8]) {
    if input.windows(14).any(|name| name.eq_ignore_ascii_case(b"content-length")) {
        return;
    }
    let neighbour = b"Subject: neighbour\n\nFrom here on\n";
    let mut writer = MboxWriter::new(Vec::new());
    let mut breaks = Vec::new();
    for message in [neighbour, input, neighbour] {
        let begun = writer.begin("a@example.org", Timestamp::from_millis(1_700_000_000_000));
        assert!(begun.is_ok());
        for piece in message.chunks(7) {
            assert!(writer.push(piece).is_ok());
        }
        breaks.extend(writer.finish());
    }
    let read = entries(&writer.into_inner(), 0);
    let mut expected = input.to_vec();
    if breaks[1] == FinalBreak::Added {
        expected.push(b'\n');
    }
    let read: Vec<&[u8]> = read.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(read, [neighbour.as_slice(), &expected, neighbour]);
}
