//! The parts of a message in one pass over its lines: RFC 2046 without recursion, linear in the message's length.

use std::ops::ControlFlow;

use super::{
    INDEXED_DEPTH_MAX,
    content::{Content, Kind, Place},
    header_block::{HeaderBlock, line_length},
    transfer::TransferEncoding,
};

/// Something found in a message, in the order of its bytes.
#[derive(Debug)]
pub(super) enum Found<'m> {
    /// The header block of a message: of the outermost one, or of one inside it.
    MessageHeaders(HeaderBlock),
    /// A part that has no parts of its own.
    Leaf { content: Content, body: &'m [u8], depth: usize },
    /// A message inside the message begins.
    NestedMessage { content: Content },
    /// Lines before the first boundary of a multipart.
    Preamble(&'m [u8]),
    /// Lines outside of any part: after the last boundary, or not well-formed in a header block.
    Outside(&'m [u8]),
    /// As `Outside`, not in one piece in the message.
    Stray(Vec<u8>),
    /// Something nested deeper than `INDEXED_DEPTH_MAX`, or fields beyond a limit: passed over.
    BeyondLimit,
}

/// Calls `visit` for everything in the message, until it breaks. `depth` counts what the message itself is nested in.
pub(super) fn walk<'m>(message: &'m [u8], depth: usize, visit: &mut dyn FnMut(Found<'m>) -> ControlFlow<()>) {
    let mut walker = Walker { message, depth, levels: Vec::new(), visit };
    // A break has nothing to carry: the visitor knows why.
    let _ = walker.walk();
}

/// An entity that is being read, and that has entities inside.
enum Level {
    Multipart { boundary: Vec<u8>, is_digest: bool },
    Message,
}

/// A boundary line, or the end of the message.
#[derive(Debug, Clone, Copy)]
struct Stop {
    /// Where the line begins, which ends what was read before.
    at: usize,
    /// Where the next line begins.
    next: usize,
    /// Which multipart it delimits, and whether it closes that. None at the end of the message.
    delimiter: Option<Delimiter>,
}

#[derive(Debug, Clone, Copy)]
struct Delimiter {
    level: usize,
    is_close: bool,
}

struct Walker<'m, 'v> {
    message: &'m [u8],
    depth: usize,
    levels: Vec<Level>,
    visit: &'v mut dyn FnMut(Found<'m>) -> ControlFlow<()>,
}

impl Walker<'_, '_> {
    fn walk(&mut self) -> ControlFlow<()> {
        let mut next = Some((0, Place::Root));
        while let Some((at, place)) = next {
            next = self.entity(at, place)?;
        }
        ControlFlow::Continue(())
    }

    /// Reads the headers at `at` and, if it has no entities inside, the body. Says where the next entity begins.
    fn entity(&mut self, at: usize, place: Place) -> ControlFlow<(), Option<(usize, Place)>> {
        let levels = &self.levels;
        let (mut block, length) =
            HeaderBlock::read(&self.message[at..], |line| delimiter(levels, line).is_some());
        let body_at = at + length;
        let content = Content::of(&block, place);
        if block.is_cut || content.is_cut {
            (self.visit)(Found::BeyondLimit)?;
        }
        let stray = block.take_stray();
        if place == Place::Root {
            (self.visit)(Found::MessageHeaders(block))?;
        }
        if !stray.is_empty() {
            (self.visit)(Found::Stray(stray))?;
        }
        self.body(body_at, content)
    }

    fn body(&mut self, body_at: usize, content: Content) -> ControlFlow<(), Option<(usize, Place)>> {
        let is_too_deep = self.depth + self.levels.len() >= INDEXED_DEPTH_MAX;
        let is_nested = match (&content.kind, &content.mime.boundary) {
            (Kind::Multipart { .. }, boundary) => boundary.is_some(),
            // RFC 2046 section 5.2.1 allows no other encoding; an encoded message is a leaf to this walk.
            (Kind::Message, _) => content.transfer == TransferEncoding::Identity,
            _ => false,
        };
        if is_nested && is_too_deep {
            (self.visit)(Found::BeyondLimit)?;
            let stop = self.scan(body_at);
            return self.after(stop);
        }
        match (content.kind, content.mime.boundary.clone()) {
            (Kind::Multipart { is_digest }, Some(boundary)) => {
                self.levels.push(Level::Multipart { boundary, is_digest });
                let stop = self.scan(body_at);
                let own = self.levels.len() - 1;
                let text = &self.message[body_at..stop.at];
                if stop.delimiter.is_some_and(|delimiter| delimiter.level == own) {
                    (self.visit)(Found::Preamble(text))?;
                } else {
                    // The boundary never comes: readers show such a body as text.
                    self.levels.pop();
                    (self.visit)(Found::Outside(text))?;
                }
                self.after(stop)
            }
            (Kind::Message, _) if is_nested => {
                (self.visit)(Found::NestedMessage { content })?;
                self.levels.push(Level::Message);
                ControlFlow::Continue(Some((body_at, Place::Root)))
            }
            _ => {
                let stop = self.scan(body_at);
                let depth = self.depth + self.levels.len();
                (self.visit)(Found::Leaf { content, body: &self.message[body_at..stop.at], depth })?;
                self.after(stop)
            }
        }
    }

    /// Goes on after a boundary line: to the next part, or through what follows the last one.
    fn after(&mut self, mut stop: Stop) -> ControlFlow<(), Option<(usize, Place)>> {
        while let Some(Delimiter { level, is_close }) = stop.delimiter {
            self.levels.truncate(level + 1);
            if !is_close {
                let is_digest = matches!(self.levels.last(), Some(Level::Multipart { is_digest: true, .. }));
                let place = if is_digest { Place::InDigest } else { Place::InMultipart };
                return ControlFlow::Continue(Some((stop.next, place)));
            }
            self.levels.truncate(level);
            let epilogue_at = stop.next;
            stop = self.scan(epilogue_at);
            (self.visit)(Found::Outside(&self.message[epilogue_at..stop.at]))?;
        }
        ControlFlow::Continue(None)
    }

    /// Finds the next boundary line of any open multipart.
    fn scan(&self, from: usize) -> Stop {
        let mut at = from;
        while at < self.message.len() {
            let next = at + line_length(&self.message[at..]);
            if let Some(delimiter) = delimiter(&self.levels, &self.message[at..next]) {
                return Stop { at, next, delimiter: Some(delimiter) };
            }
            at = next;
        }
        Stop { at, next: at, delimiter: None }
    }
}

/// RFC 2046 section 5.1.1: two hyphens, the boundary, for the last one two more, then nothing but white space. The
/// innermost multipart comes first.
fn delimiter(levels: &[Level], line: &[u8]) -> Option<Delimiter> {
    let rest = line.strip_prefix(b"--")?.trim_ascii_end();
    levels.iter().enumerate().rev().find_map(|(level, open)| {
        let Level::Multipart { boundary, .. } = open else { return None };
        match rest.strip_prefix(boundary.as_slice())? {
            b"" => Some(Delimiter { level, is_close: false }),
            b"--" => Some(Delimiter { level, is_close: true }),
            _ => None,
        }
    })
}
