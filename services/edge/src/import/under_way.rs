//! Whether an import is under way, as other processes on the same data folder see it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

const LOCK_FILE: &str = "import.lock";

/// Held by each import for its time. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct ImportLock {
    _shared: File,
}

impl ImportLock {
    /// Makes the data folder where there is none yet. Waits only for an agent that is just looking.
    pub fn hold(data_dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
        let file = open(data_dir)?;
        file.lock_shared()?;
        Ok(Self { _shared: file })
    }

    /// Whether nobody holds it at this moment; not, where that cannot be told.
    pub(crate) async fn is_seen_free(data_dir: &Path) -> bool {
        let data_dir = data_dir.to_owned();
        let looked = tokio::task::spawn_blocking(move || Self::is_free(&data_dir)).await;
        match looked.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(is_free) => is_free,
            Err(error) => {
                tracing::warn!(%error, "it cannot be told whether an import is under way");
                false
            }
        }
    }

    fn is_free(data_dir: &Path) -> io::Result<bool> {
        match open(data_dir)?.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open(data_dir: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(data_dir.join(LOCK_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_free_when_the_last_import_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = ImportLock::hold(&data).unwrap();
        let second = ImportLock::hold(&data).unwrap();
        assert!(!ImportLock::is_free(&data).unwrap());
        drop(first);
        assert!(!ImportLock::is_free(&data).unwrap());
        drop(second);
        assert!(ImportLock::is_free(&data).unwrap());
        assert!(ImportLock::is_free(&folder.path().join("nowhere")).is_err());
    }
}
