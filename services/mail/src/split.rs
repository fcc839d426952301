//! Splits a message, pushed in any chunks, into its skeleton and its parts.

mod base64_body;
mod fields;
mod identity_body;
mod in_memory;
pub(crate) mod lines;
mod output;
mod structure;

use openarchive_domain::{Digest, DigestHasher};

use self::{lines::LineCutter, output::Output, structure::Structure};
use crate::{PartRef, Skeleton};

pub use self::in_memory::split_in_memory;

/// Where the content of parts goes. One part at a time: `begin`, `data` once or more, `end` or `abort`.
///
/// After an error the splitter must be thrown away.
pub trait PartSink {
    type Error;

    /// Called only for a part of 1 KiB or more.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// The next piece of decoded content, at most about 64 KiB.
    fn data(&mut self, decoded: &[u8]) -> Result<(), Self::Error>;

    /// The part that was begun is complete. The same digest may come more than once.
    fn end(&mut self, part: &PartRef) -> Result<(), Self::Error>;

    /// Forget what was begun: the message is being abandoned.
    fn abort(&mut self) -> Result<(), Self::Error>;
}

/// What was noticed about a message that is kept all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// A limit of [`crate::limits`] on the structure was passed; from there on all is verbatim.
    pub structure_limit: bool,
    /// A CR without LF.
    pub bare_cr: bool,
    pub nul: bool,
}

impl Flags {
    /// Names of the flags that are set, in fixed order, as they are stored and shown.
    pub fn names(&self) -> Vec<&'static str> {
        [(self.structure_limit, "structure-limit"), (self.bare_cr, "bare-cr"), (self.nul, "nul")]
            .into_iter()
            .filter_map(|(is_set, name)| is_set.then_some(name))
            .collect()
    }

    /// `text` is a line without its ending. Not generic, and one pass without a branch, because every byte that is
    /// not base64 goes through here.
    fn note(&mut self, text: &[u8]) {
        let (nul, cr) = text
            .iter()
            .fold((0, 0), |(nul, cr), byte| (nul | u8::from(*byte == 0), cr | u8::from(*byte == b'\r')));
        self.nul |= nul != 0;
        self.bare_cr |= cr != 0;
    }
}

/// A message that was split. Joining the skeleton with the parts gives the exact bytes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub skeleton: Skeleton,
    /// SHA-256 of the exact bytes.
    pub message: Digest,
    /// Bytes of the message.
    pub length: u64,
    pub flags: Flags,
}

/// Push-based splitter. The result depends on the bytes only, not on the chunks they come in.
///
/// Memory: some 200 KiB, a verbatim run of up to 1 MiB, and what the skeleton keeps (a few KiB as a rule, below
/// [`crate::limits::SKELETON_BYTES_MAX`] for any input). No message is refused for its structure. One longer than
/// [`crate::limits::MESSAGE_BYTES_MAX`] is its caller's to refuse: its skeleton would not be read back.
pub struct Splitter<S> {
    message: DigestHasher,
    lines: LineCutter,
    structure: Structure,
    out: Output<S>,
}

impl<S: PartSink> Splitter<S> {
    pub fn new(sink: S) -> Self {
        Self {
            message: DigestHasher::default(),
            lines: LineCutter::default(),
            structure: Structure::new(),
            out: Output::new(sink),
        }
    }

    /// The next bytes of the message, any number of them.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), S::Error> {
        self.message.update(chunk);
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.lines.is_at_line_start() {
                let taken = self.structure.take_lines(rest, &mut self.out)?;
                rest = &rest[taken..];
                if rest.is_empty() {
                    break;
                }
            }
            let (taken, piece) = self.lines.cut(rest);
            if let Some(piece) = piece {
                self.structure.piece(&piece, &mut self.out)?;
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// The message is complete. Also gives the sink back.
    pub fn finish(mut self) -> Result<(Split, S), S::Error> {
        if let Some(piece) = self.lines.finish() {
            self.structure.piece(&piece, &mut self.out)?;
        }
        self.structure.finish(&mut self.out)?;
        let length = self.message.length();
        let (skeleton, flags, sink) = self.out.finish(length)?;
        Ok((Split { skeleton, message: self.message.finish(), length, flags }, sink))
    }

    /// The message will not be completed (the connection broke): a part that was begun is aborted.
    pub fn abandon(self) -> Result<S, S::Error> {
        self.out.abandon()
    }

    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.structure.held_bytes() + self.out.held_bytes()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::seeded;
