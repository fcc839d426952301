use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use openarchive_domain::random;

/// Folder of temporary files under the root. No key segment begins with a dot, so no object can be here.
const TEMPORARY_DIR: &str = ".tmp";
const OWNER_FILE: &str = "owner";

/// One opening of the store: its own folder for temporary files, held by a file lock while the process lives.
/// A folder that nobody holds belongs to a process that died and is removed by whoever opens the store next.
pub(super) struct Session {
    dir: PathBuf,
    _held: File,
}

impl Session {
    pub(super) fn begin(root: &Path) -> io::Result<Self> {
        let all = root.join(TEMPORARY_DIR);
        fs::create_dir_all(&all)?;
        // Held only here: between making a folder and holding it, nobody may take it for a dead one.
        let opening = File::create(all.join("opening"))?;
        opening.lock()?;
        remove_dead(&all)?;
        let dir = all.join(hex::encode(random::bytes::<16>()));
        fs::create_dir(&dir)?;
        let held = File::create(dir.join(OWNER_FILE))?;
        held.lock()?;
        drop(opening);
        Ok(Self { dir, _held: held })
    }

    /// A name that no other write uses.
    pub(super) fn temporary_path(&self) -> PathBuf {
        self.dir.join(hex::encode(random::bytes::<16>()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // If this fails the next opening removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn remove_dead(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let alive = match File::open(entry.path().join(OWNER_FILE)) {
            Ok(owner) => match owner.try_lock() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => true,
                Err(TryLockError::Error(error)) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !alive {
            match fs::remove_dir_all(entry.path()) {
                // Its owner may be removing it at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            tracing::info!(folder = %entry.path().display(), "removes temporary files of a process that died");
        }
    }
    Ok(())
}
