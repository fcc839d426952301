//! Whether a skeleton and its parts give exactly the message they were made from.

use std::io;

use openarchive_mail::{PartEncoder, Segment, Skeleton};

use super::take_apart::StoredParts;
use crate::content::{Content, READ_BYTES};

/// Compares byte for byte, which is stronger than comparing digests and needs no second hash.
pub(super) fn rejoins(message: &Content, skeleton: &Skeleton, parts: &StoredParts) -> io::Result<bool> {
    if skeleton.message_length() != message.length() {
        return Ok(false);
    }
    let mut comparison = Comparison { message, position: 0, equal: true, expected: Vec::new() };
    for segment in skeleton.segments() {
        match segment {
            Segment::Verbatim(bytes) => comparison.push(bytes)?,
            Segment::Part(part) => {
                let Some(content) = parts.get(&part.digest) else { return Ok(false) };
                let (mut encoder, mut out) = (PartEncoder::new(&part.recipe), Vec::new());
                content.read(READ_BYTES, |piece| {
                    encoder.push(piece, &mut out);
                    comparison.push(&out)?;
                    out.clear();
                    io::Result::Ok(())
                })?;
                encoder.finish(&mut out);
                comparison.push(&out)?;
            }
        }
        if !comparison.equal {
            return Ok(false);
        }
    }
    Ok(comparison.position == message.length())
}

struct Comparison<'a> {
    message: &'a Content,
    position: u64,
    equal: bool,
    /// What the message has at the place, when it is in a file.
    expected: Vec<u8>,
}

impl Comparison<'_> {
    fn push(&mut self, joined: &[u8]) -> io::Result<()> {
        for piece in joined.chunks(READ_BYTES) {
            let end = self.position + piece.len() as u64;
            if !self.equal || end > self.message.length() {
                self.equal = false;
                return Ok(());
            }
            self.equal = match self.message {
                Content::Memory(bytes) => bytes[self.position as usize..end as usize] == *piece,
                Content::File { .. } => {
                    self.expected.resize(piece.len(), 0);
                    self.message.read_exact_at(&mut self.expected, self.position)?;
                    self.expected == piece
                }
            };
            self.position = end;
        }
        Ok(())
    }
}
