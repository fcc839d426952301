//! From skeleton and parts back to the exact message.

use openarchive_domain::Digest;

use crate::{Base64Recipe, LineEnd, Recipe, Segment, Skeleton, base64};

/// Writes base64 digits in lines. A break is written before the digit that needs it, so what was written so far
/// is always a beginning of the whole.
#[derive(Debug, Clone)]
pub(crate) struct LineEncoder {
    line_length: usize,
    line_end: &'static [u8],
    column: usize,
    rest: Vec<u8>,
    digits: Vec<u8>,
}

impl LineEncoder {
    pub(crate) fn new(line_length: u16, line_end: LineEnd) -> Self {
        Self {
            line_length: usize::from(line_length),
            line_end: line_end.bytes(),
            column: 0,
            rest: Vec::with_capacity(3),
            digits: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, mut decoded: &[u8], out: &mut Vec<u8>) {
        while !self.rest.is_empty() && self.rest.len() < 3 {
            let Some((first, after)) = decoded.split_first() else { return };
            self.rest.push(*first);
            decoded = after;
        }
        let (torn, _) = self.rest.as_chunks::<3>();
        base64::encode_triples(torn, &mut self.digits);
        if !torn.is_empty() {
            self.rest.clear();
        }
        let (triples, rest) = decoded.as_chunks::<3>();
        self.rest.extend_from_slice(rest);
        out.reserve(triples.len() * 4 + triples.len() / 8);
        for block in triples.chunks(1024) {
            base64::encode_triples(block, &mut self.digits);
            self.wrap(out);
        }
        self.wrap(out);
    }

    /// Writes the last digits and `padding` signs; no break after them.
    pub(crate) fn finish(mut self, padding: u8, out: &mut Vec<u8>) {
        base64::encode_rest(&self.rest, &mut self.digits);
        self.digits.extend(std::iter::repeat_n(b'=', usize::from(padding)));
        self.wrap(out);
    }

    fn wrap(&mut self, out: &mut Vec<u8>) {
        let mut digits = self.digits.as_slice();
        if self.line_length == 0 {
            out.extend_from_slice(digits);
            digits = &[];
        }
        while !digits.is_empty() {
            if self.column == self.line_length {
                out.extend_from_slice(self.line_end);
                self.column = 0;
            }
            let (line, after) = digits.split_at(digits.len().min(self.line_length - self.column));
            out.extend_from_slice(line);
            self.column += line.len();
            digits = after;
        }
        self.digits.clear();
    }
}

/// Turns a part's decoded content, given in any pieces, into its bytes in the message.
#[derive(Debug, Clone)]
pub struct PartEncoder(Encoding);

#[derive(Debug, Clone)]
enum Encoding {
    Identity,
    Base64 { recipe: Base64Recipe, lines: LineEncoder },
}

impl PartEncoder {
    pub fn new(recipe: &Recipe) -> Self {
        Self(match recipe {
            Recipe::Identity => Encoding::Identity,
            Recipe::Base64(recipe) => Encoding::Base64 {
                recipe: recipe.clone(),
                lines: LineEncoder::new(recipe.line_length, recipe.line_end),
            },
        })
    }

    /// Appends to `out`; memory beyond that stays constant.
    pub fn push(&mut self, decoded: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => out.extend_from_slice(decoded),
            Encoding::Base64 { lines, .. } => lines.push(decoded, out),
        }
    }

    /// Appends what is left: last digits, padding, last break, trailing bytes.
    pub fn finish(self, out: &mut Vec<u8>) {
        if let Encoding::Base64 { recipe, lines } = self.0 {
            lines.finish(recipe.padding, out);
            if recipe.last_break {
                out.extend_from_slice(recipe.line_end.bytes());
            }
            out.extend_from_slice(&recipe.trailing);
        }
    }
}

/// Why a message could not be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("part {0} is not there; fetch it, then join again")]
    PartMissing(Digest),
    #[error("what was given as part {0} has another digest or length; it is damaged or another part")]
    PartDiffers(Digest),
    #[error("the segments join to {joined} bytes, the skeleton declares {declared}")]
    LengthDiffers { declared: u64, joined: u64 },
}

/// Joins a message that fits into memory. Each part is checked against its digest and length.
pub fn join_in_memory(
    skeleton: &Skeleton,
    part: impl Fn(&Digest) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, JoinError> {
    let mut message = Vec::with_capacity(usize::try_from(skeleton.message_length()).unwrap_or(0));
    for segment in skeleton.segments() {
        match segment {
            Segment::Verbatim(bytes) => message.extend_from_slice(bytes),
            Segment::Part(reference) => {
                let decoded = part(&reference.digest).ok_or(JoinError::PartMissing(reference.digest))?;
                if decoded.len() as u64 != reference.decoded_length
                    || Digest::of(&decoded) != reference.digest
                {
                    return Err(JoinError::PartDiffers(reference.digest));
                }
                let mut encoder = PartEncoder::new(&reference.recipe);
                encoder.push(&decoded, &mut message);
                encoder.finish(&mut message);
            }
        }
    }
    let (declared, joined) = (skeleton.message_length(), message.len() as u64);
    if declared == joined { Ok(message) } else { Err(JoinError::LengthDiffers { declared, joined }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PartRef;

    fn encode(recipe: Base64Recipe, decoded: &[u8]) -> String {
        let mut out = Vec::new();
        let mut encoder = PartEncoder::new(&Recipe::Base64(recipe));
        encoder.push(decoded, &mut out);
        encoder.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_recipe_says_where_lines_break_and_how_the_text_ends() {
        let plain = Base64Recipe::default();
        assert_eq!(encode(plain.clone(), b"foobar"), "Zm9vYmFy");
        assert_eq!(encode(Base64Recipe { padding: 2, ..plain.clone() }, b"foob"), "Zm9vYg==");
        assert_eq!(encode(plain, b"foob"), "Zm9vYg");
        let lines = Base64Recipe {
            line_length: 3,
            line_end: LineEnd::Lf,
            padding: 2,
            last_break: true,
            trailing: b"end".to_vec(),
        };
        assert_eq!(encode(lines, b"foob"), "Zm9\nvYg\n==\nend");
    }

    #[test]
    fn a_missing_part_and_a_wrong_part_are_told_apart() {
        let message = vec![b'x'; 2000];
        let skeleton = Skeleton::whole(&message);
        let digest = Digest::of(&message);
        assert_eq!(join_in_memory(&skeleton, |_| None), Err(JoinError::PartMissing(digest)));
        let wrong = |_: &Digest| Some(vec![b'y'; 2000]);
        assert_eq!(join_in_memory(&skeleton, wrong), Err(JoinError::PartDiffers(digest)));
        let right = |asked: &Digest| (*asked == digest).then(|| message.clone());
        assert_eq!(join_in_memory(&skeleton, right), Ok(message.clone()));
    }

    proptest! {
        #![proptest_config(crate::split::seeded(256))]

        #[test]
        fn the_length_is_known_in_advance_and_pieces_do_not_matter(
            decoded in proptest::collection::vec(any::<u8>(), 0..9000),
            line_length in 0u16..200,
            padding in 0u8..3,
            last_break: bool,
            piece in 1usize..5000,
        ) {
            let recipe = Base64Recipe {
                line_length, line_end: LineEnd::CrLf, padding, last_break, trailing: b"..".to_vec(),
            };
            let part = PartRef {
                digest: Digest::of(&decoded),
                decoded_length: decoded.len() as u64,
                recipe: Recipe::Base64(recipe.clone()),
            };
            let mut out = Vec::new();
            let mut encoder = PartEncoder::new(&part.recipe);
            for piece in decoded.chunks(piece) {
                encoder.push(piece, &mut out);
            }
            encoder.finish(&mut out);
            prop_assert_eq!(out.len() as u64, part.encoded_length());
            prop_assert_eq!(String::from_utf8(out).unwrap(), encode(recipe, &decoded));
        }
    }
}
