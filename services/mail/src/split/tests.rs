mod dedup;
mod limits;
mod properties;
mod structures;

use std::collections::BTreeMap;

use proptest::{prelude::ProptestConfig, test_runner::RngSeed};

use super::*;
use crate::{Recipe, Segment, join_in_memory, split_in_memory};

/// The same cases in every run. Failures are printed with their input; nothing is written beside the sources.
pub(crate) fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(20_260_101),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// Splits, checks what must hold for any message, and gives back what was taken out.
fn split(message: &[u8]) -> (Split, BTreeMap<Digest, Vec<u8>>) {
    let (split, parts) = split_in_memory(message);
    assert_eq!((split.message, split.length), (Digest::of(message), message.len() as u64));
    let joined = join_in_memory(&split.skeleton, |digest| parts.get(digest).cloned()).unwrap();
    assert!(joined == message, "joined to other bytes");
    assert_eq!(Skeleton::decode(&split.skeleton.encode()).as_ref(), Ok(&split.skeleton));
    for (digest, content) in &parts {
        assert_eq!(*digest, Digest::of(content));
        assert!(content.len() >= crate::limits::PART_BYTES_MIN);
    }
    (split, parts)
}

/// The decoded contents that were taken out, in order of the message.
fn contents(message: &[u8]) -> Vec<Vec<u8>> {
    let (split, parts) = split(message);
    split.skeleton.parts().map(|part| parts[&part.digest].clone()).collect()
}

/// `length` bytes that are no text and repeat nowhere soon.
fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn base64_text(content: &[u8], line_length: usize, line_end: &str) -> String {
    let mut digits = Vec::new();
    let (triples, rest) = content.as_chunks::<3>();
    crate::base64::encode_triples(triples, &mut digits);
    crate::base64::encode_rest(rest, &mut digits);
    digits.resize(digits.len().next_multiple_of(4), b'=');
    let lines = digits.chunks(line_length).map(|line| std::str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join(line_end)
}

/// A multipart message of one text and one base64 attachment whose body is `body`, up to the boundary.
fn with_attachment(body: &str) -> Vec<u8> {
    format!(
        "From: a@example.org\r\nSubject: s\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\npreamble\r\n--b1\r\n\r\ntext\r\n\
         --b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         {body}--b1--\r\nepilogue\r\n"
    )
    .into_bytes()
}

/// Discards content; remembers the largest piece and how often each method was called.
#[derive(Debug, Default)]
struct Counting {
    begun: u64,
    ended: u64,
    aborted: u64,
    bytes: u64,
    largest: usize,
}

impl PartSink for Counting {
    type Error = &'static str;

    fn begin(&mut self) -> Result<(), &'static str> {
        assert_eq!(self.begun, self.ended + self.aborted, "one part at a time");
        self.begun += 1;
        Ok(())
    }

    fn data(&mut self, decoded: &[u8]) -> Result<(), &'static str> {
        assert_eq!(self.begun, self.ended + 1);
        self.bytes += decoded.len() as u64;
        self.largest = self.largest.max(decoded.len());
        if self.bytes > 1 << 30 { Err("full") } else { Ok(()) }
    }

    fn end(&mut self, _: &PartRef) -> Result<(), &'static str> {
        self.ended += 1;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), &'static str> {
        self.aborted += 1;
        Ok(())
    }
}
