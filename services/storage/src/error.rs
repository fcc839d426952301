use std::sync::Arc;

use openarchive_domain::LockDateError;
use openarchive_envelope::{SealError, key_file::KeyFileError, pack::PackError};
use openarchive_objects::ObjectError;
use openarchive_schema::TransactionError;
use tonic::Status;

/// Why storage could not do what was asked. Nothing here says that content is damaged: that is a
/// [`crate::Finding`].
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("the object store does not answer as it should")]
    Objects(#[from] ObjectError),
    #[error("the database does not answer as it should")]
    Database(#[from] sqlx::Error),
    #[error("the database did not take the pack")]
    Transaction(#[from] TransactionError),
    /// Trust is away, or did not do what was asked.
    #[error("trust did not {action}: {status}")]
    Trust { action: &'static str, status: Status },
    /// Trust answered something that cannot be.
    #[error("trust answered {0}")]
    TrustAnswer(&'static str),
    #[error("the spool folder cannot be used: check its disk and permissions")]
    Spool(#[from] std::io::Error),
    #[error("a blob could not be sealed")]
    Seal(#[from] SealError),
    #[error("a pack could not be put together")]
    Pack(#[from] PackError),
    #[error("a key file could not be put together")]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    LockDate(#[from] LockDateError),
    #[error("a row of storage.{table} holds what this version cannot read in {column}")]
    Row { table: &'static str, column: &'static str },
    #[error("a blob of this pack has a row whose key was lost: run `openarchive fsck`")]
    KeyMissing,
    #[error("storage is stopping")]
    Stopping,
    /// The pack that several callers waited for.
    #[error("the pack was not stored: {0}")]
    PackNotStored(Arc<StorageError>),
}

impl StorageError {
    /// The error with everything that led to it, for logs.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
