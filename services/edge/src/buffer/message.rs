//! What is known of a buffered mail.

use std::fmt;

use openarchive_domain::{Digest, Seat, Timestamp};
use serde::{Deserialize, Serialize};

use super::Progress;
use crate::content::Content;

/// Names a mail within one buffer, in order of acceptance. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) i64);

impl MessageId {
    /// Before the first mail.
    pub const START: Self = Self(0);
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The envelope as the ledger will commit to it. Stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// "" is the null sender.
    pub from: String,
    /// The mail's own recipients, in the order in which the peer named them (for quarantined mail: RCPT as it came).
    pub to: Vec<String>,
    /// The peer's IP address, or `import`.
    pub peer: String,
    /// A journal mode or `import`.
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Stored,
    /// Kept like any other mail, and flagged.
    Quarantined {
        reason: String,
    },
}

#[derive(Debug, Clone)]
pub struct NewBlob {
    pub digest: Digest,
    pub content: Content,
}

/// A mail that has been taken apart and is to be kept.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// SHA-256 and length of the exact bytes.
    pub message: Digest,
    pub length: u64,
    pub skeleton: NewBlob,
    /// Each digest once, in order of first occurrence.
    pub parts: Vec<NewBlob>,
    pub envelope: Envelope,
    pub occurred_at: Timestamp,
    pub state: State,
    /// Names of the splitter's flags, and what the mail is to its journal.
    pub flags: Vec<String>,
    /// What of an import is done once this mail is kept.
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRef {
    pub digest: Digest,
    pub length: u64,
}

/// A mail in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffered {
    pub id: MessageId,
    pub seat: Seat,
    /// SHA-256 and length of the exact bytes.
    pub message: Digest,
    pub length: u64,
    pub skeleton: BlobRef,
    /// Each digest once, in order of first occurrence.
    pub parts: Vec<BlobRef>,
    pub envelope: Envelope,
    pub occurred_at: Timestamp,
    pub state: State,
    pub flags: Vec<String>,
}
