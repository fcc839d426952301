//! A base64 body that is taken out: decoded as it comes, for as long as it is what a recipe can say.
//!
//! Each decoded block is encoded again and compared with the bytes that came before it leaves. Where the body
//! stops following its recipe, the part ends, and the bytes from there on stay verbatim: a beginning of the
//! content encodes to a beginning of the text, so nothing that was handed over has to be taken back.

use super::{PartSink, lines::Piece, output::Output};
use crate::{
    Base64Recipe, LineEnd, Recipe,
    base64::{Quantum, decode_quanta},
    join::LineEncoder,
    limits::{BLOCK_BYTES, LINE_CHARACTERS_MAX, PART_BYTES_MIN, TRAILING_BYTES_MAX},
};

/// Whether a piece belongs to the base64 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Yes, and more may follow.
    More,
    /// Yes, and nothing may follow: it is short or padded, or ends otherwise than the lines before.
    Last,
    /// No.
    No,
}

#[derive(Debug, Default)]
pub(crate) struct Base64Body {
    /// Bytes of the message that the sink has not seen the content of.
    raw: Vec<u8>,
    /// Their content, but for the digits in `quantum`.
    decoded: Vec<u8>,
    quantum: Quantum,
    /// `=` signs after the last digit, as many as its line has room for.
    padding: u8,
    /// Characters of the current line so far.
    column: usize,
    /// Of every line but the last; known once the first line has ended.
    line_length: Option<u16>,
    line_end: LineEnd,
    /// Bytes of content that the sink has seen: a multiple of 3.
    handed_over: u64,
    encoder: Option<LineEncoder>,
    /// The block encoded again; kept to be used again.
    encoded: Vec<u8>,
}

impl Base64Body {
    /// No byte of the text was seen yet: empty lines before it are not part of it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.raw.is_empty() && self.handed_over == 0
    }

    pub(crate) fn is_block_full(&self) -> bool {
        self.decoded.len() >= BLOCK_BYTES
    }

    /// Takes whole lines of the known length from the front of `input`, which begins a line, and returns how many
    /// bytes. Only a faster way to do what [`Self::accept`] does line by line.
    pub(crate) fn take_lines(&mut self, input: &[u8]) -> usize {
        let Some(line_length) = self.line_length.map(usize::from) else { return 0 };
        if !line_length.is_multiple_of(4) || !self.quantum.is_empty() {
            return 0;
        }
        let mut taken = 0;
        for line in input.chunks_exact(line_length + self.line_end.bytes().len()) {
            let (digits, line_end) = line.split_at(line_length);
            let (quanta, _) = digits.as_chunks::<4>();
            let fits = line_end == self.line_end.bytes() && decode_quanta(quanta, &mut self.decoded);
            if !fits {
                break;
            }
            taken += line.len();
            if self.is_block_full() {
                break;
            }
        }
        self.raw.extend_from_slice(&input[..taken]);
        if taken > 0 {
            self.column = line_length;
        }
        taken
    }

    pub(crate) fn accept(&mut self, piece: &Piece<'_>) -> Accepted {
        let (digits, signs, is_plain) = digits_of(piece.text());
        let column = if piece.starts_line { digits.len() } else { self.column + digits.len() };
        let room = self.line_length.map_or(usize::MAX, usize::from).checked_sub(column);
        let Some(room) = room else { return Accepted::No };
        if !self.quantum.decode(digits, &mut self.decoded) {
            return Accepted::No;
        }
        self.raw.extend_from_slice(piece.bytes);
        self.column = column;
        self.padding = signs.min(room).min(2) as u8;
        if self.line_length.is_none() {
            self.line_end = piece.line_end;
        }
        match (piece.line_end, self.line_length) {
            _ if !is_plain => Accepted::Last,
            (LineEnd::None, _) => Accepted::More,
            (line_end, Some(_)) if line_end == self.line_end && room == 0 => Accepted::More,
            (_, Some(_)) => Accepted::Last,
            (_, None) => {
                self.line_length = u16::try_from(column).ok();
                debug_assert_eq!(self.line_length.is_some(), column <= LINE_CHARACTERS_MAX);
                if self.line_length.is_some() { Accepted::More } else { Accepted::Last }
            }
        }
    }

    /// Hands the block over. False once the body stays verbatim from here on; then it is done with.
    pub(crate) fn hand_over<S: PartSink>(&mut self, out: &mut Output<S>) -> Result<bool, S::Error> {
        let mut encoder = self.encoder.take().unwrap_or_else(|| self.new_encoder());
        self.encoded.clear();
        encoder.push(&self.decoded, &mut self.encoded);
        if !self.raw.starts_with(&self.encoded) || !out.part_data(&self.decoded)? {
            self.give_up(out)?;
            return Ok(false);
        }
        self.raw.drain(..self.encoded.len());
        self.handed_over += self.decoded.len() as u64;
        self.decoded.clear();
        self.encoder = Some(encoder);
        Ok(true)
    }

    /// The text is over: hands over the last of it. None if it stays verbatim, all or the rest of it.
    pub(crate) fn settle<S: PartSink>(
        &mut self,
        out: &mut Output<S>,
    ) -> Result<Option<Base64Tail>, S::Error> {
        let needed = std::mem::take(&mut self.quantum).end(&mut self.decoded);
        let padding = if self.padding >= needed { needed } else { 0 };
        let content = self.handed_over + self.decoded.len() as u64;
        if content < PART_BYTES_MIN as u64 {
            out.verbatim(&self.raw)?;
            return Ok(None);
        }
        let mut encoder = self.encoder.take().unwrap_or_else(|| self.new_encoder());
        self.encoded.clear();
        encoder.push(&self.decoded, &mut self.encoded);
        encoder.finish(padding, &mut self.encoded);
        let is_exact = self.raw.starts_with(&self.encoded);
        // An empty block has nothing to say; the part was begun with an earlier one.
        if !is_exact || (!self.decoded.is_empty() && !out.part_data(&self.decoded)?) {
            self.give_up(out)?;
            return Ok(None);
        }
        let rest = &self.raw[self.encoded.len()..];
        let after_break =
            if self.line_end == LineEnd::None { None } else { rest.strip_prefix(self.line_end.bytes()) };
        let recipe = self.recipe(content, padding, after_break.is_some());
        Ok(Some(Base64Tail { recipe, trailing: after_break.unwrap_or(rest).to_vec() }))
    }

    /// What was handed over stays a part, the rest is verbatim.
    fn give_up<S: PartSink>(&mut self, out: &mut Output<S>) -> Result<(), S::Error> {
        if self.handed_over > 0 {
            out.end_part(Recipe::Base64(self.recipe(self.handed_over, 0, false)))?;
        }
        out.verbatim(&self.raw)
    }

    fn recipe(&self, content: u64, padding: u8, last_break: bool) -> Base64Recipe {
        let recipe = Base64Recipe {
            line_length: self.line_length.unwrap_or(0),
            line_end: self.line_end,
            padding,
            last_break,
            trailing: Vec::new(),
        };
        recipe.in_canonical_form(content)
    }

    fn new_encoder(&self) -> LineEncoder {
        LineEncoder::new(self.line_length.unwrap_or(0), self.line_end)
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.raw.capacity() + self.decoded.capacity() + self.encoded.capacity()
    }
}

/// The digits that begin a line's text, the `=` signs that follow, and whether the digits are all there is. Blanks
/// and a CR may come last: they are for the trailing bytes, the line's digits are content all the same.
fn digits_of(text: &[u8]) -> (&[u8], usize, bool) {
    let after = text.iter().rev().take_while(|byte| b"= \t\r".contains(byte)).count();
    let (digits, after) = text.split_at(text.len() - after);
    (digits, after.iter().take_while(|byte| **byte == b'=').count(), after.is_empty())
}

/// What stands between the base64 text and the end of the body.
#[derive(Debug)]
pub(crate) struct Base64Tail {
    recipe: Base64Recipe,
    trailing: Vec<u8>,
}

impl Base64Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.trailing.extend_from_slice(bytes);
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.trailing.len() > TRAILING_BYTES_MAX
    }

    pub(crate) fn end<S: PartSink>(mut self, out: &mut Output<S>) -> Result<(), S::Error> {
        if !self.is_too_long() && out.has_room_for_trailing() {
            self.recipe.trailing = std::mem::take(&mut self.trailing);
        }
        out.end_part(Recipe::Base64(self.recipe))?;
        out.verbatim(&self.trailing)
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.trailing.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        join_in_memory,
        split::{in_memory::PartsInMemory, lines::LineCutter},
    };

    /// The comparison is the last line of defence against a decoder that is wrong; here it is made wrong.
    #[test]
    fn a_block_that_does_not_encode_to_what_came_stays_verbatim() {
        let line = format!("{}\r\n", "QUJD".repeat(19));
        for good_lines in [0, 1000] {
            let mut out = Output::new(PartsInMemory::default());
            let mut body = Base64Body::default();
            let mut message = String::new();
            let mut take = |body: &mut Base64Body, lines: usize| {
                for _ in 0..lines {
                    assert_eq!(
                        body.accept(&LineCutter::default().cut(line.as_bytes()).1.unwrap()),
                        Accepted::More
                    );
                    message.push_str(&line);
                }
            };
            take(&mut body, good_lines);
            if good_lines > 0 {
                assert_eq!(body.hand_over(&mut out), Ok(true));
            }
            take(&mut body, 1000);
            body.decoded[500] ^= 1;
            assert_eq!(body.hand_over(&mut out), Ok(false));
            let (skeleton, _, sink) = out.finish(message.len() as u64).unwrap();
            let joined = join_in_memory(&skeleton, |digest| sink.parts.get(digest).cloned()).unwrap();
            assert!(joined == message.as_bytes());
            assert_eq!(skeleton.parts().count(), usize::from(good_lines > 0));
        }
    }
}
