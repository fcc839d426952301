use std::io;

use openarchive_domain::Timestamp;

use crate::ObjectKey;

/// Why a call on the object store did not do what was asked.
///
/// Only [`Self::Unavailable`] may pass by itself; after it a write may or may not have happened. After
/// [`Self::NotAsWritten`] it did not, and has to be made again.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object that exists is durable.
    #[error("object {key} exists already")]
    Exists { key: ObjectKey },
    #[error("there is no object {key}")]
    NotFound { key: ObjectKey },
    #[error("object {key} is locked until {until}")]
    Locked { key: ObjectKey, until: Timestamp },
    #[error("object {key} is locked until {until}; a lock is never shortened")]
    LockShortened { key: ObjectKey, until: Timestamp },
    #[error("object {key} has {length} bytes, bytes {offset} to {end} do not all exist")]
    RangeBeyondEnd { key: ObjectKey, length: u64, offset: u64, end: u64 },
    #[error("object {key} has {length} bytes, at most {limit} are read at once; read it in pieces")]
    TooLarge { key: ObjectKey, length: u64, limit: u64 },
    #[error("the name {key} runs through an object, or names what holds others")]
    KeyConflict { key: ObjectKey },
    #[error("the object store acknowledged {key}, but it is not there as it was written")]
    NotAsWritten { key: ObjectKey },
    #[error("the object store cannot {action}")]
    Unavailable {
        action: String,
        #[source]
        source: io::Error,
    },
}

impl ObjectError {
    /// Whether the same call, or the write that this one checked, may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NotAsWritten { .. })
    }
}
