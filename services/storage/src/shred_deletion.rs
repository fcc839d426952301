//! Deleting pack objects in which nothing is left: every key was destroyed by order, and the object's lock is over. The
//! row and the key file stay: they say, with the orders in the ledger, that nothing is missing.

use openarchive_envelope::{BlobScope, key_file::KeyFile};
use openarchive_objects::{ObjectError, ObjectStore};
use openarchive_schema::begin;
use tracing::info;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::rows_of,
    catalogue::{PackRow, pack_row},
    ledger_check::OrderedShreds,
    object_names::key_file_of,
    shred::Shredder,
};

/// Pack objects that are deleted after one order, at most: later orders go on.
const DELETIONS_TOGETHER_MAX: i64 = 100;

impl Shredder {
    /// May be interrupted anywhere and repeated.
    pub(crate) async fn delete_empty_packs(&self, scope: &BlobScope) -> Result<(), StorageError> {
        let empty = sqlx::query_scalar!(
            "select p.pack_id from storage.pack p left join storage.pack_lock l using (pack_id)
             where p.tenant = $1 and p.leaf_index is not null and coalesce(l.lock_until, p.lock_until, 0) <= $2
               and not exists (select from storage.pack_deletion d where d.pack_id = p.pack_id)
               and not exists (select from storage.pack_entry e where e.pack_id = p.pack_id)
               and not exists (select from storage.pack_copy c
                 where c.pack_id = p.pack_id and (c.wrapped_dek is not null or c.shred_leaf is null))
             order by p.pack_id limit $3",
            scope.as_str(),
            self.clock.now().as_millis(),
            DELETIONS_TOGETHER_MAX,
        )
        .fetch_all(&mut *begin(&self.pool, rows_of(scope)).await?)
        .await?;
        for pack in empty {
            if let Some(row) = pack_row(&self.pool, pack).await? {
                self.delete_pack(&row).await?;
            }
        }
        Ok(())
    }

    async fn delete_pack(&self, row: &PackRow) -> Result<(), StorageError> {
        let scope = &row.group.scope;
        let key_file = KeyFile::decode(&self.key_objects.get(&row.key_file_key).await?)?;
        let ordered = self.ordered(row).await?;
        // Not by what the rows say alone.
        if !nothing_left(&key_file, |key| ordered.contains(&key)) {
            return Ok(());
        }
        match self.objects.delete(&row.object_key).await {
            // The store knows of a later date.
            Err(ObjectError::Locked { .. }) => return Ok(()),
            other => other?,
        }
        let mut tx = begin(&self.pool, rows_of(scope)).await?;
        sqlx::query!(
            "insert into storage.pack_deletion (pack_id, tenant, deleted_at) values ($1, $2, $3)
             on conflict (pack_id) do nothing",
            row.pack_id,
            scope.as_str(),
            self.clock.now().as_millis(),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        info!(tenant = %scope, pack = %row.pack_id, "a pack object in which nothing was left is deleted");
        Ok(())
    }

    /// Numbers of this pack's keys that the ledger orders to be destroyed.
    async fn ordered(&self, row: &PackRow) -> Result<Vec<u32>, StorageError> {
        let scope = &row.group.scope;
        let leaves = sqlx::query_scalar!(
            r#"select distinct shred_leaf as "shred_leaf!" from storage.pack_copy
               where tenant = $1 and pack_id = $2 and shred_leaf is not null"#,
            scope.as_str(),
            row.pack_id,
        )
        .fetch_all(&mut *begin(&self.pool, rows_of(scope)).await?)
        .await?;
        let mut ordered = Vec::new();
        for leaf in leaves {
            let order = self.ledger.shred_leaf(scope.as_str(), leaf as u64).await?;
            ordered
                .extend(order.iter().filter_map(|order| order.places.get(row.pack_id.as_bytes())).flatten());
        }
        Ok(ordered)
    }
}

/// Whether every key but the footer's is gone, and was ordered to go.
pub(crate) fn nothing_left(key_file: &KeyFile, ordered: impl Fn(u32) -> bool) -> bool {
    let keys = key_file.entries.iter().enumerate().skip(1);
    key_file.entries.len() > 1
        && keys.into_iter().all(|(number, key)| key.is_none() && u32::try_from(number).is_ok_and(&ordered))
}

/// Whether a pack that no row knows any more was deleted like this: its key file and the ledger say so.
pub(crate) async fn was_deleted(
    key_objects: &ObjectStore,
    tenant: &str,
    pack: Uuid,
    ordered: &OrderedShreds,
) -> Result<bool, StorageError> {
    let Ok(scope) = tenant.parse() else { return Ok(false) };
    match key_objects.get(&key_file_of(&scope, pack)).await {
        Ok(bytes) => Ok(KeyFile::decode(&bytes)
            .is_ok_and(|file| nothing_left(&file, |key| ordered.contains_key(&(pack, key))))),
        Err(ObjectError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
