//! A body that is taken out as it stands (7bit, 8bit, binary).

use super::{PartSink, lines::Piece, output::Output};
use crate::{
    LineEnd, Recipe,
    limits::{BLOCK_BYTES, PART_BYTES_MIN},
};

/// What ended a body. The line break before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    Boundary,
    EndOfMessage,
}

#[derive(Debug, Default)]
pub(crate) struct IdentityBody {
    /// What the sink has not seen.
    held: Vec<u8>,
    /// Of the last line; whether it is content shows only when more follows.
    line_end: LineEnd,
    is_begun: bool,
}

impl IdentityBody {
    /// False once the rest of the body, and of the message, has to stay verbatim.
    pub(crate) fn push<S: PartSink>(
        &mut self,
        piece: &Piece<'_>,
        out: &mut Output<S>,
    ) -> Result<bool, S::Error> {
        self.held.extend_from_slice(self.line_end.bytes());
        self.held.extend_from_slice(piece.text());
        self.line_end = piece.line_end;
        if self.held.len() < BLOCK_BYTES { Ok(true) } else { self.hand_over(out) }
    }

    pub(crate) fn end<S: PartSink>(mut self, by: EndedBy, out: &mut Output<S>) -> Result<(), S::Error> {
        if by == EndedBy::EndOfMessage {
            self.held.extend_from_slice(self.line_end.bytes());
            self.line_end = LineEnd::None;
        }
        let is_worth_it = self.is_begun || self.held.len() >= PART_BYTES_MIN;
        if is_worth_it && self.hand_over(out)? {
            out.end_part(Recipe::Identity)?;
        }
        out.verbatim(&self.held)?;
        out.verbatim(self.line_end.bytes())
    }

    fn hand_over<S: PartSink>(&mut self, out: &mut Output<S>) -> Result<bool, S::Error> {
        // An empty block has nothing to say; the part was begun with an earlier one.
        if !self.held.is_empty() && !out.part_data(&self.held)? {
            return Ok(false);
        }
        self.is_begun = true;
        self.held.clear();
        Ok(true)
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }
}
