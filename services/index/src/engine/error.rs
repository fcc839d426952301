use std::path::{Path, PathBuf};

use tantivy::{
    TantivyError,
    directory::error::{LockError, OpenDirectoryError, OpenReadError},
};

use super::{CursorError, ENDINGS_MAX, PAGE_HITS_MAX};

/// Why an index cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the index in {} is open in another process: stop that first", folder.display())]
    InUse { folder: PathBuf },
    /// Everything in an index can be made again from the archive.
    #[error("the index in {} is damaged or of another version: recreate it and feed it anew", folder.display())]
    Damaged { folder: PathBuf, source: Option<TantivyError> },
    #[error("the index in {} cannot be read or written: check the folder's disk and rights", folder.display())]
    Io { folder: PathBuf, source: std::io::Error },
}

impl OpenError {
    pub(super) fn damaged(folder: &Path, source: Option<TantivyError>) -> Self {
        Self::Damaged { folder: folder.to_owned(), source }
    }

    pub(super) fn of(folder: &Path, error: TantivyError) -> Self {
        let io = match &error {
            TantivyError::LockFailure(LockError::LockBusy, _) => {
                return Self::InUse { folder: folder.to_owned() };
            }
            TantivyError::IoError(io)
            | TantivyError::LockFailure(LockError::IoError(io), _)
            | TantivyError::OpenReadError(OpenReadError::IoError { io_error: io, .. })
            | TantivyError::OpenDirectoryError(
                OpenDirectoryError::IoError { io_error: io, .. }
                | OpenDirectoryError::FailedToCreateTempDir(io),
            ) => io,
            _ => return Self::damaged(folder, Some(error)),
        };
        // Too short or not to be understood is damage; anything else is the disk's or the system's refusal.
        match io.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                Self::damaged(folder, Some(error))
            }
            kind => Self::Io { folder: folder.to_owned(), source: std::io::Error::new(kind, error) },
        }
    }

    pub(super) fn io(folder: &Path, source: std::io::Error) -> Self {
        Self::Io { folder: folder.to_owned(), source }
    }
}

/// Why an open index does not answer. All but [`Self::TooBroad`] are worth one more try; if that fails too, check the
/// disk, then recreate.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the index cannot be read: check its disk; if it is damaged, recreate it and feed it anew")]
    Read(#[source] TantivyError),
    #[error("the index cannot be written: check its disk for space and rights, then send the batch again")]
    Write(#[source] TantivyError),
    #[error(
        "more than {ENDINGS_MAX} words begin like the last word of a phrase with `*`: write more of its letters"
    )]
    TooBroad,
    #[error(
        "the index engine broke off: its files may be damaged; recreate it and feed it anew if that persists"
    )]
    Panicked,
}

/// What a query that asks for too much ends with inside of tantivy, which knows no errors of ours.
const TOO_BROAD: &str = "openarchive: too broad";

pub(super) fn too_broad() -> TantivyError {
    TantivyError::InvalidArgument(TOO_BROAD.to_owned())
}

impl EngineError {
    pub(super) fn of_read(error: TantivyError) -> Self {
        match &error {
            TantivyError::InvalidArgument(text) if text == TOO_BROAD => Self::TooBroad,
            _ => Self::Read(error),
        }
    }
}

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("a page has 1 to {PAGE_HITS_MAX} hits, not {limit}")]
    Limit { limit: usize },
    #[error(transparent)]
    Engine(#[from] EngineError),
}
