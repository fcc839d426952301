//! Keeping a blob for longer: a mail that comes later refers to it, or it is the archive's own and stays while that lives.

use openarchive_domain::{RetentionClass, Timestamp, lock_until};
use openarchive_envelope::BlobScope;
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::BlobId,
    catalogue::{KeepUntil, PackRow, locked_blobs, note_locks, packs_to_lock},
    pack_flush::key_file_is_locked,
};

/// How much of its time a lock of class `system` may have lost before it is extended, in milliseconds: a year.
const SYSTEM_LOCK_LOST_MILLIS_MAX: i64 = 365 * 24 * 3600 * 1000;

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

    /// Locks a pack of the archive's own state and configuration anew from `now` on, if its lock has lost more than
    /// [`SYSTEM_LOCK_LOST_MILLIS_MAX`]; does nothing to packs of mail, which have an end. May be repeated.
    pub(crate) async fn renew(&self, row: &PackRow, now: Timestamp) -> Result<(), StorageError> {
        let class = row.group.class;
        let Some(locked) = row.lock_until.filter(|_| class == RetentionClass::System) else { return Ok(()) };
        let keep = KeepUntil::new(lock_until(class, now)?);
        if locked.as_millis() >= keep.until.as_millis() - SYSTEM_LOCK_LOST_MILLIS_MAX {
            return Ok(());
        }
        extend_one(&self.objects, &row.object_key, keep).await?;
        extend_one(&self.key_objects, &row.key_file_key, keep).await?;
        note_locks(&self.pool, &row.group.scope, &[row.pack_id], keep.until).await
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
