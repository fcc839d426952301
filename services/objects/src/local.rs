//! Objects as files under one folder, for one machine: read-only files, `worm: false`.
//!
//! - An object's file stands at `<root>/<key>`, mode 0444. Its modification time is its lock date, or 1970 for none:
//!   so the lock appears with the object in one atomic step and needs no second file.
//! - A write goes to a temporary file first (`write`), is flushed, and then linked to its name: `link` refuses a name
//!   that exists, so of several creators exactly one wins. Parent folders are flushed before the call returns. The
//!   file system must have hard links, and file locks for the next point.
//! - Temporary files of processes that died are removed at the next opening (`session`).

mod durable_dirs;
mod list;
mod read;
mod session;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use openarchive_domain::{Clock, Timestamp};

use crate::{Content, Meta, ObjectError, ObjectKey, Version, store::Standing};

use self::{durable_dirs::DurableDirs, session::Session};
pub(crate) use read::LocalReader;
pub(crate) use write::hash_file;

/// Files under one folder. Cheap to clone. Several processes may share the folder.
#[derive(Clone)]
pub struct LocalStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    session: Session,
    durable_dirs: DurableDirs,
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalStore").field(&self.0.root).finish()
    }
}

impl LocalStore {
    /// Opens the folder `root`, making it if it is missing, and removes what crashed writers left.
    /// `clock` decides whether a lock is over. Blocking.
    pub fn open(root: &Path, clock: Arc<dyn Clock>) -> Result<Self, ObjectError> {
        let opening = |source| ObjectError::Unavailable {
            action: format!("open its folder {}", root.display()),
            source,
        };
        let root = std::path::absolute(root).map_err(opening)?;
        let durable_dirs = DurableDirs::new(&root).map_err(opening)?;
        let session = Session::begin(&root).map_err(opening)?;
        Ok(Self(Arc::new(Inner { root, clock, session, durable_dirs })))
    }

    pub(crate) async fn create(
        &self,
        key: &ObjectKey,
        content: Content,
        lock_until: Option<Timestamp>,
    ) -> Result<Version, ObjectError> {
        self.run(key, move |inner, key| inner.create(key, content, lock_until)).await
    }

    pub(crate) async fn replace(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Version, ObjectError> {
        self.run(key, move |inner, key| inner.replace(key, &bytes)).await
    }

    pub(crate) async fn get(&self, key: &ObjectKey) -> Result<Vec<u8>, ObjectError> {
        self.run(key, Inner::get).await
    }

    pub(crate) async fn get_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        self.run(key, move |inner, key| inner.get_range(key, offset, length)).await
    }

    pub(crate) async fn open_reader(&self, key: &ObjectKey) -> Result<LocalReader, ObjectError> {
        self.run(key, Inner::open_reader).await
    }

    pub(crate) async fn head(&self, key: &ObjectKey) -> Result<Option<Meta>, ObjectError> {
        self.run(key, Inner::head).await
    }

    pub(crate) async fn standing(&self, key: &ObjectKey) -> Result<Option<Standing>, ObjectError> {
        self.run(key, Inner::standing).await
    }

    pub(crate) async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.run(key, Inner::delete).await
    }

    pub(crate) async fn extend_lock(&self, key: &ObjectKey, until: Timestamp) -> Result<(), ObjectError> {
        self.run(key, move |inner, key| inner.extend_lock(key, until)).await
    }

    pub(crate) async fn list_page(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, ObjectError> {
        let (inner, prefix, after) = (self.0.clone(), prefix.to_owned(), after.cloned());
        blocking("list objects", move || {
            list::list_page(&inner.root, &prefix, after.as_ref(), limit)
                .map_err(|source| ObjectError::Unavailable { action: "list objects".to_owned(), source })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        key: &ObjectKey,
        work: impl FnOnce(&Inner, &ObjectKey) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let (inner, key) = (self.0.clone(), key.clone());
        blocking("do file work", move || work(&inner, &key)).await
    }
}

/// File work runs on tokio's blocking threads. A panic there goes on in the caller.
async fn blocking<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(join) => {
            Err(ObjectError::Unavailable { action: action.to_owned(), source: std::io::Error::other(join) })
        }
    }
}

impl Inner {
    fn path_of(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }
}
