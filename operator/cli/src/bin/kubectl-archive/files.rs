//! Files that are written once, whole, for their owner's eyes only.

use anyhow::{Context, bail};
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file under a temporary name, removed again unless it is [`Self::keep`]ed.
pub(crate) struct NewFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Beside `path`, which must not be there yet.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            bail!("{} is there already: choose another name", path.display());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let temporary = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let temporary = temporary.with_context(|| format!("cannot write beside {}", path.display()))?;
        Ok(Self { temporary, path: path.to_owned() })
    }

    pub(crate) fn out(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// From its first byte on.
    pub(crate) fn read(&self) -> anyhow::Result<File> {
        self.temporary.reopen().context("cannot read what was written")
    }

    /// Durable under its name when it returns its length in bytes; never in another's place.
    pub(crate) fn keep(self) -> anyhow::Result<u64> {
        let Self { temporary, path } = self;
        let failed = || format!("cannot write {}", path.display());
        temporary.as_file().sync_all().with_context(failed)?;
        let bytes = temporary.as_file().metadata().with_context(failed)?.len();
        temporary.persist_noclobber(&path).with_context(failed)?;
        Ok(bytes)
    }
}
