//! What the full-text index gets to see of a message: addresses, subject, date, body text, names of attachments.
//!
//! Any bytes are read, nothing panics, and work and memory are bounded by the limits below whatever the message
//! looks like. What a limit (or an encryption) keeps out of the index is never lost silently: `partly_indexed`
//! is set. A MIME library sees single header fields only; structure, transfer encodings and HTML are read here,
//! in one pass without recursion, because nested input is a known way to exhaust a recursive parser.
//!
//! Body text is every text part that is not an attachment (`Content-Disposition: attachment`), plus what delivery
//! reports say and what stands before the first and after the last boundary (but for the usual notice about MIME);
//! both branches of multipart/alternative, because they may differ. Messages inside the message are descended into:
//! their headers' words and their bodies count as body text. Attachments count with their file names only.

mod charset;
mod collect;
mod content;
pub(crate) mod content_field;
mod encoded_word;
mod fields;
mod header_addresses;
mod header_block;
mod html;
mod structure;
mod transfer;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use openarchive_domain::Timestamp;

use collect::Collector;

pub use header_addresses::{
    HEADER_ADDRESSES_BYTES_MAX, HEADER_ADDRESSES_MAX, HEADER_ADDRESSES_RAW_BYTES_MAX, HeaderAddresses,
};

/// Most body text kept for one message, in bytes of UTF-8.
pub const BODY_TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most bytes of text parts, as they stand in the message, read for one message.
pub const TEXT_SOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest header block that is read, in bytes; the rest of a longer one is passed over.
pub const INDEXED_HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Longest Content-Type or Content-Disposition that is read, in bytes.
pub const CONTENT_FIELD_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of multiparts and messages that is descended into.
pub const INDEXED_DEPTH_MAX: usize = 64;
/// Most parts and nested messages that are visited.
pub const INDEXED_PARTS_MAX: usize = 10_000;
/// Longest text before the first boundary, in bytes, that is taken for a notice if it speaks of MIME, and not indexed.
pub const PREAMBLE_NOTICE_BYTES_MAX: usize = 512;
/// Most addresses kept of one message, over all its address fields.
pub const ADDRESSES_MAX: usize = 10_000;
/// Most bytes of attachment names kept of one message.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 1024 * 1024;

/// One mailbox of an address field. Either half may be empty; neither is folded or lower-cased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    pub name: String,
    pub address: String,
}

/// The words of one message, all of them decoded to Unicode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    pub from: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    /// Sender, Reply-To and the Resent fields: participants that no search field names.
    pub others: Vec<Address>,
    /// Repeated Subject fields are joined with a space.
    pub subject: String,
    /// The first Date field that is one.
    pub date: Option<Timestamp>,
    /// Without angle brackets.
    pub message_id: Option<String>,
    /// Text parts in the order of the message, separated by line breaks.
    pub body: String,
    /// File names in the order of the message, those of nested messages included.
    pub attachments: Vec<String>,
    /// A part that has a file name or is not body text, a nested message among them. Names may be missing.
    pub has_attachment: bool,
    /// Some text of the message is not in here: it lies beyond a limit, is encrypted or sealed in a container, or
    /// is written in an unknown charset.
    pub partly_indexed: bool,
}

/// Reads a whole message. Bounded: see the limits of this module.
pub fn extract(message: &[u8]) -> Extracted {
    extract_with_elisions(message, false)
}

/// Reads a message of which large parts were left out: the verbatim bytes of its skeleton, in order. The headers
/// of a part are verbatim, so addresses and attachment names are complete. `elided_text` says that one of the
/// parts left out is text that this index would have read; the result is then `partly_indexed`.
pub fn extract_with_elisions(message_without_parts: &[u8], elided_text: bool) -> Extracted {
    let mut collector = Collector::new();
    collector.read(message_without_parts);
    let mut extracted = collector.finish();
    extracted.partly_indexed |= elided_text;
    extracted
}
