use std::path::PathBuf;

use openarchive_domain::{Digest, Timestamp};

use crate::{Faults, FaultyStore, LocalStore, ObjectError, ObjectKey, faulty::CallKind, local::LocalReader};

/// Largest object that [`ObjectStore::get`] and range that [`ObjectStore::get_range`] return, in bytes.
pub const WHOLE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest piece that an [`ObjectReader`] hands out, in bytes.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// What an object is made from.
#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Vec<u8>),
    /// A complete file that nobody writes to any more. It is consumed: gone after success, still there after
    /// [`ObjectError::Exists`], and either after another error.
    File(PathBuf),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Names this version for ever, together with the key. Of the local store: the hex SHA-256 of the content.
    pub version_id: String,
    pub sha256: Digest,
    pub length: u64,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub length: u64,
    /// Until when it cannot be deleted or replaced; may be past.
    pub lock_until: Option<Timestamp>,
}

/// What an object is when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) sha256: Digest,
    pub(crate) length: u64,
    pub(crate) lock_until: Option<Timestamp>,
}

/// Whether locks hold against whoever has the store's own credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WormStatus {
    pub worm: bool,
    /// The reason, to be shown to people as it is.
    pub why: String,
}

/// Where objects are kept. Cheap to clone; clones share the backend.
///
/// Every call is safe to repeat. A call whose future is dropped may still take effect.
#[derive(Debug, Clone)]
pub enum ObjectStore {
    /// Files under one folder.
    Local(LocalStore),
    /// Another store whose calls fail as planned: for tests of the callers.
    Faulty(Box<FaultyStore>),
}

impl ObjectStore {
    /// This store with planned faults in front, for tests.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self::Faulty(Box::new(FaultyStore { inner: self, faults }))
    }

    /// Creates an object that does not exist yet; of several at once exactly one succeeds, the others get
    /// [`ObjectError::Exists`]. Durable, with its lock, when this returns.
    pub async fn create(
        &self,
        key: &ObjectKey,
        content: impl Into<Content>,
        lock_until: Option<Timestamp>,
    ) -> Result<Version, ObjectError> {
        let content = content.into();
        match self {
            Self::Local(store) => store.create(key, content, lock_until).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Write, key.as_str())?;
                let (made, pretended) = (content.clone(), content);
                let made = Box::pin(faulty.inner.create(key, made, lock_until));
                Box::pin(call.write(made, faulty.pretend_to_create(key, pretended))).await
            }
        }
    }

    /// [`Self::create`], but an object that exists with exactly these bytes is success: for writers that repeat
    /// themselves after a crash. Other bytes under the key are [`ObjectError::Exists`].
    pub async fn create_or_match(
        &self,
        key: &ObjectKey,
        bytes: Vec<u8>,
        lock_until: Option<Timestamp>,
    ) -> Result<Version, ObjectError> {
        let sha256 = Digest::of(&bytes);
        let length = bytes.len() as u64;
        let exists = match self.create(key, bytes, lock_until).await {
            Err(exists @ ObjectError::Exists { .. }) => exists,
            other => return other,
        };
        let present = self.get(key).await?;
        if present.len() as u64 != length || Digest::of(&present) != sha256 {
            return Err(exists);
        }
        if let Some(until) = lock_until {
            match self.extend_lock(key, until).await {
                Ok(()) | Err(ObjectError::LockShortened { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.present_version(sha256, length))
    }

    /// The version of an object that is there already, from what is known of its content.
    pub(crate) fn present_version(&self, sha256: Digest, length: u64) -> Version {
        match self {
            Self::Local(_) => Version { version_id: sha256.hex(), sha256, length },
            Self::Faulty(faulty) => faulty.inner.present_version(sha256, length),
        }
    }

    /// Writes an unlocked object anew, whether or not it exists. A reader sees the old bytes or the new, whole.
    /// Durable when this returns. Refused with [`ObjectError::Locked`] while the present one is locked.
    pub async fn replace(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Version, ObjectError> {
        match self {
            Self::Local(store) => store.replace(key, bytes).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Write, key.as_str())?;
                let pretended = faulty.pretended_version(Digest::of(&bytes), bytes.len() as u64);
                call.write(Box::pin(faulty.inner.replace(key, bytes)), async { Ok(pretended) }).await
            }
        }
    }

    /// The whole object, at most [`WHOLE_BYTES_MAX`].
    pub async fn get(&self, key: &ObjectKey) -> Result<Vec<u8>, ObjectError> {
        match self {
            Self::Local(store) => store.get(key).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, key.as_str())?;
                call.end(Box::pin(faulty.inner.get(key)).await)
            }
        }
    }

    /// Exactly `length` bytes from `offset`, at most [`WHOLE_BYTES_MAX`]. A range that does not exist in full is
    /// refused, never shortened.
    pub async fn get_range(&self, key: &ObjectKey, offset: u64, length: u64) -> Result<Vec<u8>, ObjectError> {
        match self {
            Self::Local(store) => store.get_range(key, offset, length).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, key.as_str())?;
                call.end(Box::pin(faulty.inner.get_range(key, offset, length)).await)
            }
        }
    }

    /// Opens an object of any size for reading in pieces from its start.
    pub async fn open(&self, key: &ObjectKey) -> Result<ObjectReader, ObjectError> {
        match self {
            Self::Local(store) => store.open_reader(key).await.map(ObjectReader::Local),
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, key.as_str())?;
                call.end(Box::pin(faulty.inner.open(key)).await)
            }
        }
    }

    /// `None` if there is no such object.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<Meta>, ObjectError> {
        match self {
            Self::Local(store) => store.head(key).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, key.as_str())?;
                call.end(Box::pin(faulty.inner.head(key)).await)
            }
        }
    }

    /// Proves by reading it that what a write acknowledged is there: these bytes, locked at least until `lock_until`.
    /// [`ObjectError::NotAsWritten`] if it is not: the store lost it.
    pub async fn read_back(
        &self,
        key: &ObjectKey,
        written: &Version,
        lock_until: Option<Timestamp>,
    ) -> Result<(), ObjectError> {
        let standing = self.standing(key).await?;
        let same = standing.is_some_and(|found| {
            (found.sha256, found.length) == (written.sha256, written.length) && found.lock_until >= lock_until
        });
        if same { Ok(()) } else { Err(ObjectError::NotAsWritten { key: key.clone() }) }
    }

    async fn standing(&self, key: &ObjectKey) -> Result<Option<Standing>, ObjectError> {
        match self {
            Self::Local(store) => store.standing(key).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, key.as_str())?;
                call.end(Box::pin(faulty.inner.standing(key)).await)
            }
        }
    }

    /// The keys that begin with `prefix`, sorted by bytes. For what may be many, use [`Self::list_page`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectKey>, ObjectError> {
        self.list_page(prefix, None, usize::MAX).await
    }

    /// At most `limit` keys that begin with `prefix` and sort behind `after`, sorted by bytes. Fewer than `limit`
    /// means that there are no more.
    pub async fn list_page(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, ObjectError> {
        match self {
            Self::Local(store) => store.list_page(prefix, after, limit).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Read, prefix)?;
                call.end(Box::pin(faulty.inner.list_page(prefix, after, limit)).await)
            }
        }
    }

    /// Deletes an object; one that is not there is success. Refused with [`ObjectError::Locked`] while it is locked.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        match self {
            Self::Local(store) => store.delete(key).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Write, key.as_str())?;
                call.write(Box::pin(faulty.inner.delete(key)), async { Ok(()) }).await
            }
        }
    }

    /// Locks an object for longer. The same date again is success, an earlier one [`ObjectError::LockShortened`].
    pub async fn extend_lock(&self, key: &ObjectKey, until: Timestamp) -> Result<(), ObjectError> {
        match self {
            Self::Local(store) => store.extend_lock(key, until).await,
            Self::Faulty(faulty) => {
                let call = faulty.faults.begin(CallKind::Write, key.as_str())?;
                call.write(Box::pin(faulty.inner.extend_lock(key, until)), async { Ok(()) }).await
            }
        }
    }

    /// Whether locks are more than a promise of this program.
    pub fn worm(&self) -> WormStatus {
        match self {
            Self::Local(_) => WormStatus {
                worm: false,
                why: "local files: whoever may write to the folder can remove the lock".to_owned(),
            },
            Self::Faulty(faulty) => faulty.inner.worm(),
        }
    }
}

impl From<LocalStore> for ObjectStore {
    fn from(store: LocalStore) -> Self {
        Self::Local(store)
    }
}

/// An object that is being read from its start.
#[derive(Debug)]
pub enum ObjectReader {
    Local(LocalReader),
}

impl ObjectReader {
    /// Bytes of the whole object.
    pub const fn length(&self) -> u64 {
        match self {
            Self::Local(reader) => reader.length(),
        }
    }

    /// The next bytes, at most [`PIECE_BYTES_MAX`], or `None` at the end. An object that ends before its length is
    /// an error. Not cancel-safe: after a dropped call the reader must be dropped too.
    pub async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        match self {
            Self::Local(reader) => reader.next_piece().await,
        }
    }
}
