//! Where a log's tiles, entry bundles and checkpoint stand in the object store: `ledger/LOG/`, in the layout of C2SP
//! tlog-tiles.

use std::fmt::Display;

use openarchive_domain::Timestamp;
use openarchive_ledger::{
    Hash,
    origin::LogId,
    tiles::{BundleId, TILE_WIDTH, TileId, decode_bundle},
};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};

/// Prefix of all logs.
pub(crate) const LEDGER_PREFIX: &str = "ledger/";

/// Why a tile or bundle could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TileReadError {
    #[error("a tile or bundle cannot be read")]
    Objects(#[from] ObjectError),
    #[error("the object {0} is missing")]
    Missing(ObjectKey),
    #[error("the object {0} is no tile or bundle of its width")]
    Malformed(ObjectKey),
}

/// One log's objects.
#[derive(Debug, Clone)]
pub(crate) struct LogObjects {
    store: ObjectStore,
    prefix: String,
}

impl LogObjects {
    pub(crate) fn new(store: ObjectStore, log: &LogId) -> Self {
        Self { store, prefix: format!("{LEDGER_PREFIX}{log}/") }
    }

    pub(crate) fn checkpoint_key(&self) -> ObjectKey {
        self.key(&"checkpoint")
    }

    /// The object of a tile or bundle.
    pub(crate) fn key(&self, path: &impl Display) -> ObjectKey {
        ObjectKey::try_from(format!("{}{path}", self.prefix))
            .expect("logs are labels, and tile paths digits: segments of an object key")
    }

    /// Writes a tile or bundle. A full one is created once, locked until then, and is the same for whoever repeats the
    /// write; a partial one has no lock and may be written anew. The caller reads back what it wrote.
    pub(crate) async fn write(
        &self,
        path: &impl Display,
        full_until: Option<Timestamp>,
        bytes: Vec<u8>,
    ) -> Result<(), ObjectError> {
        let key = self.key(path);
        if full_until.is_some() {
            self.store.create_or_match(&key, bytes, full_until).await.map(drop)
        } else {
            self.store.replace(&key, bytes).await.map(drop)
        }
    }

    /// It stands when this returns: it was read back.
    pub(crate) async fn write_checkpoint(&self, note: &str) -> Result<(), ObjectError> {
        let key = self.checkpoint_key();
        let version = self.store.replace(&key, note.as_bytes().to_vec()).await?;
        self.store.read_back(&key, &version, None).await
    }

    /// The checkpoint as it stands; `None` if there is none.
    pub(crate) async fn read_checkpoint(&self) -> Result<Option<String>, ObjectError> {
        match self.store.get(&self.checkpoint_key()).await {
            // What is no UTF-8 is no checkpoint either, and is refused where it is parsed.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The hashes of a tile. A partial one may have gone once it was full: then the full one answers.
    pub(crate) async fn tile(&self, tile: TileId) -> Result<Vec<Hash>, TileReadError> {
        let (bytes, key, width) = match self.get(&tile).await {
            Err(TileReadError::Missing(_)) if !tile.is_full() => {
                let full = TileId { width: TILE_WIDTH, ..tile };
                self.get(&full).await.map(|(bytes, key)| (bytes, key, TILE_WIDTH))?
            }
            other => other.map(|(bytes, key)| (bytes, key, tile.width))?,
        };
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() != usize::from(width) || !rest.is_empty() {
            return Err(TileReadError::Malformed(key));
        }
        Ok(hashes.iter().take(tile.width.into()).copied().map(Hash::from_bytes).collect())
    }

    /// The entries of a bundle. As with tiles, the full one answers for a partial one that has gone.
    pub(crate) async fn bundle(&self, bundle: BundleId) -> Result<Vec<Vec<u8>>, TileReadError> {
        let (bytes, key, width) = match self.get(&bundle).await {
            Err(TileReadError::Missing(_)) if !bundle.is_full() => {
                let full = BundleId { width: TILE_WIDTH, ..bundle };
                self.get(&full).await.map(|(bytes, key)| (bytes, key, TILE_WIDTH))?
            }
            other => other.map(|(bytes, key)| (bytes, key, bundle.width))?,
        };
        let entries = decode_bundle(&bytes, width).map_err(|_| TileReadError::Malformed(key))?;
        Ok(entries.into_iter().take(bundle.width.into()).map(<[u8]>::to_vec).collect())
    }

    async fn get(&self, path: &impl Display) -> Result<(Vec<u8>, ObjectKey), TileReadError> {
        let key = self.key(path);
        match self.store.get(&key).await {
            Ok(bytes) => Ok((bytes, key)),
            Err(ObjectError::NotFound { .. }) => Err(TileReadError::Missing(key)),
            Err(error) => Err(error.into()),
        }
    }

    /// The widest bundle of this index that stands here, full or partial.
    pub(crate) async fn widest_bundle(&self, index: u64) -> Result<Option<BundleId>, ObjectError> {
        let full = BundleId { index, width: TILE_WIDTH };
        if self.store.head(&self.key(&full)).await?.is_some() {
            return Ok(Some(full));
        }
        let partial = self.store.list(&self.partial_prefix(&full)).await?;
        let widths = partial.iter().filter_map(|key| {
            let bundle: BundleId = key.as_str().strip_prefix(&self.prefix)?.parse().ok()?;
            Some(bundle.width)
        });
        Ok(widths.max().map(|width| BundleId { index, width }))
    }

    /// Removes every partial form of a tile or bundle that is full now.
    pub(crate) async fn remove_partial(&self, full: &impl Display) -> Result<(), ObjectError> {
        for key in self.store.list(&self.partial_prefix(full)).await? {
            self.store.delete(&key).await?;
        }
        Ok(())
    }

    fn partial_prefix(&self, full: &impl Display) -> String {
        format!("{}{full}.p/", self.prefix)
    }
}

/// The logs that have any object under this prefix (`ledger/` or `heads/`), in order. Costs one listing a log.
pub(crate) async fn logs_under(store: &ObjectStore, prefix: &str) -> Result<Vec<LogId>, ObjectError> {
    let mut logs = Vec::new();
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = store.list_page(prefix, after.as_ref(), 1).await?;
        let Some(key) = page.into_iter().next() else { return Ok(logs) };
        let path = key.as_str().strip_prefix(prefix).unwrap_or_default();
        let log: Option<LogId> = path.splitn(4, '/').take(3).collect::<Vec<_>>().join("/").parse().ok();
        after = match log {
            Some(log) => {
                // All objects of a log sort before this: digits, `checkpoint` and `tile/...`.
                let behind = format!("{prefix}{log}/z");
                logs.push(log);
                Some(ObjectKey::try_from(behind).expect("a log is made of labels"))
            }
            // Not ours: passed over.
            None => Some(key),
        };
    }
}
