use std::{
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use openarchive_domain::{Digest, DigestHasher, Timestamp};

use super::{Inner, durable_dirs::sync_dir};
use crate::{Content, ObjectError, ObjectKey, Version};

/// Objects are read-only for everybody.
const OBJECT_MODE: u32 = 0o444;
const HASH_PIECE_BYTES: usize = 1024 * 1024;

impl Inner {
    pub(super) fn create(
        &self,
        key: &ObjectKey,
        content: Content,
        lock_until: Option<Timestamp>,
    ) -> Result<Version, ObjectError> {
        let path = self.path_of(key);
        let parent = self.parent_for(key, &path)?;
        let writing = |source| cannot("create", key, source);
        // The winner may not have flushed the folder yet, and whoever hears `Exists` relies on the object.
        let exists = || match sync_dir(&parent) {
            Ok(()) => ObjectError::Exists { key: key.clone() },
            Err(source) => writing(source),
        };
        // Only to spare the work; the link below decides.
        if path.exists() {
            return Err(exists());
        }
        let (complete, sha256, length) = self.complete_file(content, lock_until).map_err(writing)?;
        match fs::hard_link(&complete.path, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            Err(error) => return Err(writing(error)),
        }
        // In this order: the caller's name for the file may only go when ours is on disk.
        sync_dir(&parent).map_err(writing)?;
        complete.consume().map_err(writing)?;
        Ok(Version { version_id: sha256.hex(), sha256, length })
    }

    pub(super) fn replace(&self, key: &ObjectKey, bytes: &[u8]) -> Result<Version, ObjectError> {
        let path = self.path_of(key);
        let parent = self.parent_for(key, &path)?;
        self.refuse_locked(key)?;
        let writing = |source| cannot("replace", key, source);
        let complete = self.complete_bytes(bytes, None).map_err(writing)?;
        match fs::rename(&complete.path, &path) {
            Err(_) if path.is_dir() => return Err(ObjectError::KeyConflict { key: key.clone() }),
            other => other.map_err(writing)?,
        }
        sync_dir(&parent).map_err(writing)?;
        let sha256 = Digest::of(bytes);
        Ok(Version { version_id: sha256.hex(), sha256, length: bytes.len() as u64 })
    }

    pub(super) fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.refuse_locked(key)?;
        let path = self.path_of(key);
        match fs::remove_file(&path) {
            Err(error) if is_absent(&error) || path.is_dir() => return Ok(()),
            other => other.map_err(|source| cannot("delete", key, source))?,
        }
        path.parent().map_or(Ok(()), sync_dir).map_err(|source| cannot("delete", key, source))
    }

    pub(super) fn extend_lock(&self, key: &ObjectKey, until: Timestamp) -> Result<(), ObjectError> {
        let meta = self.head(key)?.ok_or_else(|| ObjectError::NotFound { key: key.clone() })?;
        match meta.lock_until {
            Some(present) if present == until => return Ok(()),
            Some(present) if present > until => {
                return Err(ObjectError::LockShortened { key: key.clone(), until: present });
            }
            _ => {}
        }
        let locking = |source| cannot("lock", key, source);
        let file = File::open(self.path_of(key)).map_err(locking)?;
        set_lock(&file, Some(until)).map_err(locking)?;
        file.sync_all().map_err(locking)
    }

    fn refuse_locked(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        match self.head(key)?.and_then(|meta| meta.lock_until) {
            Some(until) if until > self.clock.now() => Err(ObjectError::Locked { key: key.clone(), until }),
            _ => Ok(()),
        }
    }

    /// Makes the folder that `path` lies in; all of it is on disk when this returns.
    fn parent_for(&self, key: &ObjectKey, path: &Path) -> Result<PathBuf, ObjectError> {
        let parent = path.parent().unwrap_or(&self.root);
        match self.durable_dirs.ensure(parent) {
            Ok(()) => Ok(parent.to_owned()),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) =>
            {
                Err(ObjectError::KeyConflict { key: key.clone() })
            }
            Err(error) => Err(cannot("make the folder of", key, error)),
        }
    }

    fn complete_file(
        &self,
        content: Content,
        lock_until: Option<Timestamp>,
    ) -> io::Result<(CompleteFile, Digest, u64)> {
        match content {
            Content::Bytes(bytes) => {
                let complete = self.complete_bytes(&bytes, lock_until)?;
                Ok((complete, Digest::of(&bytes), bytes.len() as u64))
            }
            Content::File(path) => self.adopt(path, lock_until),
        }
    }

    fn complete_bytes(&self, bytes: &[u8], lock_until: Option<Timestamp>) -> io::Result<CompleteFile> {
        let complete = CompleteFile { path: self.session.temporary_path(), consumed: None };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(OBJECT_MODE).open(&complete.path)?;
        file.write_all(bytes)?;
        seal_file(&file, lock_until)?;
        Ok(complete)
    }

    /// Takes the caller's file itself where a link can reach it, else a copy.
    fn adopt(&self, from: PathBuf, lock_until: Option<Timestamp>) -> io::Result<(CompleteFile, Digest, u64)> {
        let path = self.session.temporary_path();
        match fs::hard_link(&from, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(&from, &path)?;
            }
            Err(error) => return Err(error),
        }
        let complete = CompleteFile { path, consumed: Some(from) };
        let mut file = File::open(&complete.path)?;
        let (sha256, length) = hash_file(&mut file)?;
        seal_file(&file, lock_until)?;
        Ok((complete, sha256, length))
    }
}

/// A flushed temporary file, ready to be linked. Its temporary name goes when this is dropped.
struct CompleteFile {
    path: PathBuf,
    consumed: Option<PathBuf>,
}

impl CompleteFile {
    /// Removes the file that the caller gave away.
    fn consume(&self) -> io::Result<()> {
        self.consumed.as_deref().map_or(Ok(()), fs::remove_file)
    }
}

impl Drop for CompleteFile {
    fn drop(&mut self) {
        // Absent after a rename; anything else is removed at the next opening.
        let _ = fs::remove_file(&self.path);
    }
}

fn seal_file(file: &File, lock_until: Option<Timestamp>) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(OBJECT_MODE))?;
    set_lock(file, lock_until)?;
    file.sync_all()
}

/// The lock date is the modification time; 1970 stands for none.
fn set_lock(file: &File, lock_until: Option<Timestamp>) -> io::Result<()> {
    let millis = lock_until.map_or(0, |until| until.as_millis().max(0));
    let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs());
    file.set_times(FileTimes::new().set_modified(modified))
}

pub(crate) fn hash_file(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hasher = DigestHasher::default();
    let mut piece = vec![0; HASH_PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    let length = hasher.length();
    Ok((hasher.finish(), length))
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn cannot(action: &str, key: &ObjectKey, source: io::Error) -> ObjectError {
    ObjectError::Unavailable { action: format!("{action} object {key}"), source }
}
