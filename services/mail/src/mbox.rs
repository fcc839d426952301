//! mbox files: many messages in one file, each begun by a `From ` line and ended by an empty line.
//!
//! Two dialects are read, told apart message by message:
//! - **mboxcl2**: the header has exactly one `Content-Length: N`, and N bytes after the header block there stands
//!   the end of the file or (after at most one empty line) a `From ` line. Such a message is copied as it stands;
//!   nothing in it is quoted. N is at most what the file still holds, so a stale or forged length counts only if
//!   it happens to lead to a `From ` line.
//! - **mboxrd**, everything else: the message ends before the next `From ` line, and every line of one or more `>`
//!   followed by `From ` loses one `>`. The older mboxo is read the same way.
//!
//! A `From ` line begins a message if it has a time of day and either an empty line before it or a year in it. Other
//! lines that begin with `From ` are text that somebody did not quote.
//!
//! Messages come out exactly as they stand, whatever their line endings: without the `From ` line, without the
//! empty line before the next one, without the quoting. Nothing here opens files.

mod from_line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

pub use reader::MboxReader;
pub use writer::{FinalBreak, MboxWriter};

/// Longest message that is read, in bytes.
pub const MBOX_MESSAGE_BYTES_MAX: u64 = 150 * 1024 * 1024;
/// Longest `From ` line, in bytes; a longer one is text.
pub const FROM_LINE_BYTES_MAX: usize = 1024;
/// Longest header block in which a Content-Length is looked for, in bytes.
pub const CONTENT_LENGTH_SEARCH_BYTES_MAX: u64 = 1024 * 1024;

/// How the end of a message was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// By the next `From ` line; quoting was undone.
    Mboxrd,
    /// By its Content-Length; nothing was undone.
    Mboxcl2,
}

/// Where a message stands in its file. Offsets are in bytes from the beginning of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MboxEntry {
    /// Its `From ` line.
    pub offset: u64,
    /// The `From ` line after it, or the end of the file: where reading resumes once this message is safe.
    pub next: u64,
    /// Bytes of the message as it came out.
    pub length: u64,
    pub dialect: Dialect,
}

/// A message and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MboxMessage {
    pub entry: MboxEntry,
    pub bytes: Vec<u8>,
}

/// Why something in the file is no message. Reading goes on after all but `Io`.
#[derive(Debug, thiserror::Error)]
pub enum MboxError {
    #[error(
        "bytes {offset} to {next} of the mbox file belong to no message: no From line stands before them; \
         check that this is an mbox file and the offset that of a message"
    )]
    NoFromLine { offset: u64, next: u64 },
    #[error(
        "the message at byte {offset} of the mbox file is longer than {bytes_max} bytes and was skipped; \
         reading goes on at byte {next}"
    )]
    TooLarge { offset: u64, next: u64, bytes_max: u64 },
    #[error("reading the mbox file failed in the message at byte {offset}; resume at that byte")]
    Io { offset: u64, source: io::Error },
}

/// Why `MboxReader::copy_next` stopped.
#[derive(Debug, thiserror::Error)]
pub enum CopyError<E> {
    #[error(transparent)]
    Mbox(#[from] MboxError),
    /// The receiver of the bytes failed. The reader is then in mid-message: go on with a new one at the entry's offset.
    #[error("a message of the mbox file could not be taken")]
    Sink(E),
}
