//! Storing one pack. The order is the durability protocol (evidence.md section 3): keys wrapped, pack object, key
//! file, both read back, one transaction; only then is anybody answered. After a failure at any step a pack object or
//! key file may be left that no row knows: harmless, locked, found and reported by fsck. Its blobs are stored again by
//! whoever asks again, in a pack with another id.

use std::sync::Arc;

use openarchive_domain::{Clock, Erasure, RetentionClass, lock_until, random};
use openarchive_envelope::key_file::KeyFile;
use openarchive_objects::ObjectStore;
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};

use crate::{
    StorageError,
    blob_id::Group,
    catalogue::{KeyState, NewPack, insert_pack},
    key_custody::KeyCustody,
    object_names::PackName,
    pack_object,
    sealing::SealedBlob,
    spool::Spool,
};

/// Packs that are stored at once, at most; each holds up to 4 MiB of memory beyond its blobs'.
const FLUSHES_AT_ONCE_MAX: usize = 4;

/// What storing a pack needs.
pub(crate) struct PackFlush {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) key_objects: ObjectStore,
    pub(crate) keys: KeyCustody,
    pub(crate) spool: Spool,
    pub(crate) clock: Arc<dyn Clock>,
    /// Told of each new outbox row.
    pub(crate) outbox_wake: Arc<Notify>,
    pub(crate) at_once: Semaphore,
}

impl PackFlush {
    /// As many turns as packs may be stored at once.
    pub(crate) fn turns() -> Semaphore {
        Semaphore::new(FLUSHES_AT_ONCE_MAX)
    }

    /// Stores `blobs` as one pack. Durable when it returns. Answers for each blob whether this pack's copy is the
    /// catalogued one: `false` means that another copy, durable too, was there first.
    pub(crate) async fn store(
        &self,
        group: Group,
        mut blobs: Vec<SealedBlob>,
    ) -> Result<Vec<bool>, StorageError> {
        let _turn = self.at_once.acquire().await.map_err(|_| StorageError::Stopping)?;
        let memory: Vec<_> = blobs.iter_mut().filter_map(|blob| blob.memory.take()).collect();
        let now = self.clock.now();
        let lock = lock_until(group.class, now)?;
        let name = PackName::new(group, now, &random::bytes());

        let (spool, pack_name) = (self.spool.clone(), name.clone());
        let pack = blocking(move || pack_object::build(&pack_name, blobs, &spool)).await?;
        let (kek_version, wrapped) = self.keys.wrap(&name.group.scope, &pack.deks).await?;

        let (content, _removed_when_dropped) = pack.content.into_content();
        let bytes = pack.blobs.iter().map(|blob| blob.length).sum();
        let (pack_key, file_key) = (name.key(), name.key_file());
        let version = self.objects.create(&pack_key, content, Some(lock)).await?;
        openarchive_telemetry::metrics::STORAGE_PACK_BYTES.add([], bytes);
        drop(memory);

        let key_file = KeyFile { kek_version, entries: wrapped.iter().copied().map(Some).collect() };
        let key_lock = key_file_is_locked(name.group.class).then_some(lock);
        let key_version = self.key_objects.create(&file_key, key_file.encode()?, key_lock).await?;
        // ingest reads a mail's parts back again, but nobody its observation or its keys, which come from the rows.
        tokio::try_join!(
            self.objects.read_back(&pack_key, &version, Some(lock)),
            self.key_objects.read_back(&file_key, &key_version, key_lock),
        )?;

        let new_pack = NewPack {
            name,
            version,
            lock_until: lock,
            extended_until: None,
            created_at: now,
            kek_version,
            wrapped: wrapped.into_iter().skip(1).map(KeyState::Wrapped).collect(),
            blobs: pack.blobs.into_iter().enumerate().map(|(index, blob)| (index as i32 + 1, blob)).collect(),
        };
        let inserted = insert_pack(&self.pool, new_pack).await?;
        self.outbox_wake.notify_one();
        if inserted.meets_keyless { Err(StorageError::KeyMissing) } else { Ok(inserted.catalogued) }
    }
}

/// A key file that may have to be shredded before its class ends carries no lock.
pub(crate) fn key_file_is_locked(class: RetentionClass) -> bool {
    match class {
        RetentionClass::System => true,
        RetentionClass::Mail { erasure, .. } => erasure == Erasure::Forbidden,
    }
}

/// Runs work that computes or waits for disks off the async threads. A panic there goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => Err(StorageError::Stopping),
    }
}
