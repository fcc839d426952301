use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Folders whose own entries are known to be on disk, so that each is made durable once and not at every write.
pub(super) struct DurableDirs {
    root: PathBuf,
    known: Mutex<BTreeSet<PathBuf>>,
}

impl DurableDirs {
    /// Makes `root` (absolute) if it is missing. The entries of all folders that were made are on disk afterwards.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = root.ancestors().take_while(|dir| !dir.exists()).collect();
        fs::create_dir_all(root)?;
        // The root itself in any case: whoever made it may not have flushed it yet.
        for dir in missing.into_iter().chain([root]) {
            dir.parent().map_or(Ok(()), sync_dir)?;
        }
        Ok(Self { root: root.to_owned(), known: Mutex::default() })
    }

    /// Makes `dir`, which lies under the root, with its parents; all entries are on disk when this returns.
    ///
    /// A folder that exists but is not known is flushed as well: another writer may have made it a moment ago and not
    /// have flushed it yet.
    pub(super) fn ensure(&self, dir: &Path) -> io::Result<()> {
        if dir == self.root || self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(&self.root);
        self.ensure(parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other?,
        }
        sync_dir(parent)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        Ok(())
    }
}

/// Flushes the entries of a folder.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
