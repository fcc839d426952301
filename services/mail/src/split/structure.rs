//! Follows the MIME structure (RFC 2046) line by line and decides what is done with each.
//!
//! Any bytes are a message. Where the structure is broken this only decides what is taken out; every byte ends up
//! in the skeleton or in a part all the same.

use super::{
    PartSink,
    base64_body::{Accepted, Base64Body, Base64Tail},
    fields::{Body, DefaultType, Entity, HeaderBlock},
    identity_body::{EndedBy, IdentityBody},
    lines::Piece,
    output::Output,
};
use crate::limits::{DEPTH_MAX, HEADER_BLOCK_BYTES_MAX, PARTS_MAX};

/// A container that is open around the current line.
#[derive(Debug)]
enum Container {
    Multipart { boundary: Vec<u8>, is_digest: bool },
    Message,
}

#[derive(Debug)]
enum State {
    Header(HeaderBlock),
    Verbatim,
    Identity(IdentityBody),
    Base64(Box<Base64Body>),
    Base64Tail(Base64Tail),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    /// `--boundary`: the next entity begins.
    Opens,
    /// `--boundary--`: the multipart is over.
    Closes,
}

#[derive(Debug)]
pub(crate) struct Structure {
    containers: Vec<Container>,
    state: State,
    entities: usize,
}

impl Structure {
    pub(crate) fn new() -> Self {
        Self {
            containers: Vec::new(),
            state: State::Header(HeaderBlock::new(DefaultType::Text)),
            entities: 1,
        }
    }

    /// Takes whole lines of a base64 body from the front of `input`, which begins a line; returns how many bytes.
    pub(crate) fn take_lines<S: PartSink>(
        &mut self,
        input: &[u8],
        out: &mut Output<S>,
    ) -> Result<usize, S::Error> {
        let State::Base64(body) = &mut self.state else { return Ok(0) };
        let mut taken = 0;
        loop {
            let lines = body.take_lines(&input[taken..]);
            taken += lines;
            if body.is_block_full() && !body.hand_over(out)? {
                self.state = State::Verbatim;
                return Ok(taken);
            }
            if lines == 0 {
                return Ok(taken);
            }
        }
    }

    pub(crate) fn piece<S: PartSink>(
        &mut self,
        piece: &Piece<'_>,
        out: &mut Output<S>,
    ) -> Result<(), S::Error> {
        out.flags.note(piece.text());
        if out.flags.structure_limit {
            return out.verbatim(piece.bytes);
        }
        if let Some((depth, delimiter)) = self.delimiter(piece) {
            self.end_body(EndedBy::Boundary, out)?;
            out.verbatim(piece.bytes)?;
            self.cross(depth, delimiter, out);
            return Ok(());
        }
        match &mut self.state {
            State::Header(_) => self.header(piece, out),
            State::Verbatim => out.verbatim(piece.bytes),
            State::Identity(body) => {
                if !body.push(piece, out)? {
                    self.end_body(EndedBy::Boundary, out)?;
                }
                Ok(())
            }
            State::Base64(_) => self.base64(piece, out),
            State::Base64Tail(tail) => {
                tail.push(piece.bytes);
                if tail.is_too_long() { self.end_body(EndedBy::Boundary, out) } else { Ok(()) }
            }
        }
    }

    pub(crate) fn finish<S: PartSink>(&mut self, out: &mut Output<S>) -> Result<(), S::Error> {
        self.end_body(EndedBy::EndOfMessage, out)
    }

    fn header<S: PartSink>(&mut self, piece: &Piece<'_>, out: &mut Output<S>) -> Result<(), S::Error> {
        out.verbatim(piece.bytes)?;
        let State::Header(block) = &mut self.state else { return Ok(()) };
        if piece.is_empty_line() {
            let entity = block.entity();
            self.state = State::Verbatim;
            self.enter(entity, out);
        } else {
            block.push(piece);
            out.flags.structure_limit |= block.bytes > HEADER_BLOCK_BYTES_MAX;
        }
        Ok(())
    }

    fn enter<S: PartSink>(&mut self, entity: Entity, out: &mut Output<S>) {
        match entity {
            Entity::Leaf(Body::Verbatim) => {}
            Entity::Leaf(Body::Identity) => self.state = State::Identity(IdentityBody::default()),
            Entity::Leaf(Body::Base64) => self.state = State::Base64(Box::default()),
            Entity::Multipart { .. } | Entity::Message if self.containers.len() == DEPTH_MAX => {
                out.flags.structure_limit = true;
            }
            Entity::Multipart { boundary, is_digest } => {
                self.containers.push(Container::Multipart { boundary, is_digest });
            }
            Entity::Message => {
                self.containers.push(Container::Message);
                self.begin_entity(DefaultType::Text, out);
            }
        }
    }

    fn begin_entity<S: PartSink>(&mut self, default_type: DefaultType, out: &mut Output<S>) {
        if self.entities == PARTS_MAX {
            out.flags.structure_limit = true;
            return;
        }
        self.entities += 1;
        self.state = State::Header(HeaderBlock::new(default_type));
    }

    fn base64<S: PartSink>(&mut self, piece: &Piece<'_>, out: &mut Output<S>) -> Result<(), S::Error> {
        let State::Base64(body) = &mut self.state else { return Ok(()) };
        if body.is_untouched() && piece.is_empty_line() {
            return out.verbatim(piece.bytes);
        }
        let accepted = body.accept(piece);
        if accepted == Accepted::More {
            if body.is_block_full() && !body.hand_over(out)? {
                self.state = State::Verbatim;
            }
            return Ok(());
        }
        self.state = body.settle(out)?.map_or(State::Verbatim, State::Base64Tail);
        match (&mut self.state, accepted) {
            (State::Base64Tail(tail), Accepted::No) => tail.push(piece.bytes),
            (_, Accepted::No) => out.verbatim(piece.bytes)?,
            _ => {}
        }
        Ok(())
    }

    fn end_body<S: PartSink>(&mut self, by: EndedBy, out: &mut Output<S>) -> Result<(), S::Error> {
        match std::mem::replace(&mut self.state, State::Verbatim) {
            State::Header(_) | State::Verbatim => Ok(()),
            State::Identity(body) => body.end(by, out),
            State::Base64(mut body) => match body.settle(out)? {
                Some(tail) => tail.end(out),
                None => Ok(()),
            },
            State::Base64Tail(tail) => tail.end(out),
        }
    }

    /// The innermost open multipart that the line delimits, as an index into the containers.
    fn delimiter(&self, piece: &Piece<'_>) -> Option<(usize, Delimiter)> {
        if !piece.starts_line {
            return None;
        }
        let text = piece.text().strip_prefix(b"--")?;
        self.containers.iter().enumerate().rev().find_map(|(depth, container)| match container {
            Container::Multipart { boundary, .. } => Some((depth, after_boundary(text, boundary)?)),
            Container::Message => None,
        })
    }

    fn cross<S: PartSink>(&mut self, depth: usize, delimiter: Delimiter, out: &mut Output<S>) {
        match delimiter {
            Delimiter::Closes => self.containers.truncate(depth),
            Delimiter::Opens => {
                self.containers.truncate(depth + 1);
                let in_digest =
                    matches!(self.containers[depth], Container::Multipart { is_digest: true, .. });
                self.begin_entity(if in_digest { DefaultType::Message } else { DefaultType::Text }, out);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Header(_) | State::Verbatim => 0,
            State::Identity(body) => body.held_bytes(),
            State::Base64(body) => body.held_bytes(),
            State::Base64Tail(tail) => tail.held_bytes(),
        }
    }
}

/// `text` is a line without its leading `--`. Blanks may follow the delimiter (RFC 2046: transport padding).
fn after_boundary(text: &[u8], boundary: &[u8]) -> Option<Delimiter> {
    let rest = text.strip_prefix(boundary)?;
    let is_blank = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if is_blank(rest) {
        return Some(Delimiter::Opens);
    }
    rest.strip_prefix(b"--").filter(|rest| is_blank(rest)).map(|_| Delimiter::Closes)
}
