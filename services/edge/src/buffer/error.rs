use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

use super::MessageId;

/// What the buffer could not do. Nothing of a failed write is kept.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// Retry when mail was pruned.
    #[error(
        "the buffer holds {bytes} bytes and takes mail below {high_water} only; it drains when the core is reachable"
    )]
    Full { bytes: u64, high_water: u64 },
    /// Retry when there is room on the disk.
    #[error("the disk below the buffer is full; make room or enlarge it")]
    DiskFull,
    #[error("mail {0} is not in the buffer; it may have been pruned")]
    NotBuffered(MessageId),
    /// Never prune on this: the copy here is damaged, the mail server's or the core's may not be.
    #[error("mail {id} does not rebuild to its digest from the buffer: {detail}; check the disk")]
    Damaged { id: MessageId, detail: String },
    #[error("{} was written by a newer version ({found}, this one knows {known}); use that version", .path.display())]
    Version { path: PathBuf, found: i64, known: i64 },
    #[error("cannot {doing} {}: {source}", .path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot read back what was spooled: {0}")]
    Spool(#[from] io::Error),
    #[error("cannot {doing} in buffer.db: {source}")]
    Database { doing: &'static str, source: rusqlite::Error },
    #[error("the buffer has been closed")]
    Stopped,
}

impl BufferError {
    pub(super) fn database(doing: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Database { doing, source },
        }
    }

    /// The same mail may be taken later, without anyone's help.
    pub fn is_lack_of_room(&self) -> bool {
        match self {
            Self::Full { .. } | Self::DiskFull => true,
            Self::Spool(error) => error.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}

/// Says what was being done when SQLite failed.
pub(super) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, BufferError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, BufferError> {
        self.map_err(|source| BufferError::database(what, source))
    }
}
