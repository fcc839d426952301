//! Keeping a blob for longer: a mail that comes later refers to it.

use openarchive_domain::RetentionClass;
use openarchive_envelope::BlobScope;
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::BlobId,
    catalogue::{KeepUntil, note_locks, packs_to_lock, stat_blobs},
    pack_flush::key_file_is_locked,
};

/// What extending locks needs.
#[derive(Clone)]
pub(crate) struct LockExtender {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) key_objects: ObjectStore,
}

impl LockExtender {
    /// Locks the packs that hold `blobs` until at least then: the object, the key file where the class locks it, then
    /// the row. Answers for each blob whether it is locked so long; durable when it returns. May be repeated.
    pub(crate) async fn extend(
        &self,
        scope: &BlobScope,
        class: RetentionClass,
        blobs: &[BlobId],
        keep: KeepUntil,
    ) -> Result<Vec<bool>, StorageError> {
        let packs = packs_to_lock(&self.pool, scope, class, blobs, keep).await?;
        for pack in &packs {
            extend_one(&self.objects, &pack.object_key, keep).await?;
            if key_file_is_locked(class) {
                extend_one(&self.key_objects, &pack.key_file_key, keep).await?;
            }
        }
        let ids: Vec<Uuid> = packs.iter().map(|pack| pack.pack_id).collect();
        if !ids.is_empty() {
            note_locks(&self.pool, scope, &ids, keep.until).await?;
        }
        let there = stat_blobs(&self.pool, scope, Some(class), blobs, Some(keep)).await?;
        Ok(there.into_iter().map(|length| length.is_some()).collect())
    }
}

/// A lock that ends later already stays.
async fn extend_one(objects: &ObjectStore, key: &ObjectKey, keep: KeepUntil) -> Result<(), StorageError> {
    match objects.extend_lock(key, keep.until).await {
        Ok(()) | Err(ObjectError::LockShortened { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
