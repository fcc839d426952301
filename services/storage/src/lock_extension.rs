//! Keeping a blob for longer: a mail that comes later refers to it.

use openarchive_domain::RetentionClass;
use openarchive_envelope::BlobScope;
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::BlobId,
    catalogue::{KeepUntil, locked_blobs, note_locks, packs_to_lock},
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
        // Nearly always: the pack was stored this month.
        let locked = locked_blobs(&self.pool, scope, class, blobs, keep.until).await?;
        if locked.iter().all(|locked| *locked) {
            return Ok(locked);
        }
        let packs = packs_to_lock(&self.pool, scope, class, blobs, keep).await?;
        for pack in &packs {
            extend_one(&self.objects, &pack.object_key, keep).await?;
            if key_file_is_locked(class) {
                extend_one(&self.key_objects, &pack.key_file_key, keep).await?;
            }
        }
        let ids: Vec<Uuid> = packs.iter().map(|pack| pack.pack_id).collect();
        if ids.is_empty() {
            return Ok(locked);
        }
        note_locks(&self.pool, scope, &ids, keep.until).await?;
        // Asked again, not concluded: meanwhile a blob may have moved to a pack that nobody here has locked.
        locked_blobs(&self.pool, scope, class, blobs, keep.until).await
    }
}

/// A lock that ends later already stays. What the store says of it is looked at, not believed.
async fn extend_one(objects: &ObjectStore, key: &ObjectKey, keep: KeepUntil) -> Result<(), StorageError> {
    match objects.extend_lock(key, keep.until).await {
        Ok(()) | Err(ObjectError::LockShortened { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let found = objects.head(key).await?.and_then(|meta| meta.lock_until);
    if found >= Some(keep.until) {
        Ok(())
    } else {
        Err(ObjectError::NotAsWritten { key: key.clone() }.into())
    }
}
