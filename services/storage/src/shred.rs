//! Destroying keys (evidence.md section 2). The order is a leaf of the tenant's evidence log; it is read from trust, so
//! whoever calls can destroy only what is on record.
//!
//! Of each pack: the entries leave the live ones (nobody refers to them any more), then the keys leave the key file,
//! then the rows. Whatever is interrupted is done again by the same call.

use std::collections::BTreeSet;

use openarchive_domain::{Clock, Timestamp};
use openarchive_envelope::{BlobScope, key_file::KeyFile};
use openarchive_ledger::leaf::ShredLeaf;
use openarchive_objects::{ObjectError, ObjectStore};
use openarchive_schema::begin;
use sqlx::PgPool;
use std::sync::Arc;
use tonic::{Code, Status};
use tracing::warn;
use uuid::Uuid;

use openarchive_rpc::refusal;

use crate::{
    StorageError,
    blob_id::rows_of,
    catalogue::{PackRow, pack_row},
    key_custody::KeyCustody,
    ledger_check::LedgerChecker,
};

/// There is no such order in the ledger.
pub const SHRED_NOT_ORDERED: &str = "SHRED_NOT_ORDERED";
/// A key that the order names cannot be destroyed before its lock is over.
pub const SHRED_LOCKED: &str = "SHRED_LOCKED";

/// What shredding needs.
#[derive(Clone)]
pub(crate) struct Shredder {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) key_objects: ObjectStore,
    pub(crate) keys: KeyCustody,
    pub(crate) ledger: LedgerChecker,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Shredder {
    /// Answers how many keys the order names. Durable when it returns.
    pub(crate) async fn shred(&self, scope: &BlobScope, leaf_index: u64) -> Result<u32, Status> {
        let leaf = self.ledger.shred_leaf(scope.as_str(), leaf_index).await?;
        let leaf = leaf.ok_or_else(|| {
            let message = format!("leaf {leaf_index} of the evidence log orders nothing to be shredded");
            refusal(Code::FailedPrecondition, SHRED_NOT_ORDERED, message)
        })?;
        let mut packs = Vec::with_capacity(leaf.places.len());
        for id in leaf.places.keys() {
            let id = Uuid::from_bytes(*id);
            let row = pack_row(&self.pool, id).await?.filter(|row| row.group.scope == *scope);
            packs.push(row.ok_or_else(|| {
                refusal(
                    Code::NotFound,
                    "PACK_ABSENT",
                    format!("the order names pack {id}, which is not there"),
                )
            })?);
        }
        // All or nothing, as far as can be known before.
        for row in &packs {
            self.refuse_locked(row).await?;
        }
        let mut keys = 0;
        for row in &packs {
            keys += self.shred_pack(row, &leaf, leaf_index).await?;
        }
        // Not what was asked for: it is tried again with the next order.
        if let Err(error) = self.delete_empty_packs(scope).await {
            warn!(tenant = %scope, %error, "pack objects in which nothing is left cannot be deleted");
        }
        Ok(keys)
    }

    async fn refuse_locked(&self, row: &PackRow) -> Result<(), Status> {
        let meta = self.key_objects.head(&row.key_file_key).await.map_err(StorageError::from)?;
        match meta.and_then(|meta| meta.lock_until) {
            Some(until) if until > self.clock.now() => Err(locked(row.pack_id, until)),
            _ => Ok(()),
        }
    }

    async fn shred_pack(&self, row: &PackRow, leaf: &ShredLeaf, leaf_index: u64) -> Result<u32, Status> {
        let scope = &row.group.scope;
        let Some(numbers) = leaf.places.get(row.pack_id.as_bytes()) else { return Ok(0) };
        let ordinals: Vec<i32> = numbers.iter().filter_map(|number| i32::try_from(*number).ok()).collect();
        self.begin_shred(scope, row.pack_id, &ordinals, leaf_index).await?;
        // Held until the row is written: rewriting one key file is one at a time.
        let mut tx = begin(&self.pool, rows_of(scope)).await.map_err(StorageError::from)?;
        sqlx::query!(
            r#"select pg_advisory_xact_lock(hashtextextended('openarchive key file ' || $1::text, 0))::text as "locked""#,
            row.pack_id.to_string(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(StorageError::from)?;
        self.rewrite_key_file(row, numbers).await?;
        sqlx::query!(
            r#"select storage.end_shred($1, $2, $3, $4)::text as "done""#,
            scope.as_str(),
            row.pack_id,
            &ordinals,
            leaf_index as i64,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(StorageError::from)?;
        tx.commit().await.map_err(StorageError::from)?;
        self.keys.forget_all();
        Ok(ordinals.len() as u32)
    }

    async fn begin_shred(
        &self,
        scope: &BlobScope,
        pack: Uuid,
        ordinals: &[i32],
        leaf_index: u64,
    ) -> Result<(), StorageError> {
        let mut tx = begin(&self.pool, rows_of(scope)).await?;
        sqlx::query!(
            r#"select storage.begin_shred($1, $2, $3, $4)::text as "done""#,
            scope.as_str(),
            pack,
            ordinals,
            leaf_index as i64,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// A key file without the keys; one that lacks them already is left as it is. The footer's key stays.
    async fn rewrite_key_file(&self, row: &PackRow, numbers: &BTreeSet<u32>) -> Result<(), Status> {
        let bytes = self.key_objects.get(&row.key_file_key).await.map_err(StorageError::from)?;
        let mut key_file = KeyFile::decode(&bytes).map_err(StorageError::from)?;
        let mut changed = false;
        for number in numbers {
            let entry = key_file.entries.get_mut(*number as usize).filter(|_| *number > 0);
            let entry = entry.ok_or_else(|| {
                let message = format!("the order names key {number} of pack {}, which has none", row.pack_id);
                refusal(Code::FailedPrecondition, SHRED_NOT_ORDERED, message)
            })?;
            changed |= entry.take().is_some();
        }
        if !changed {
            return Ok(());
        }
        let bytes = key_file.encode().map_err(StorageError::from)?;
        let version = match self.key_objects.replace(&row.key_file_key, bytes).await {
            Ok(version) => version,
            Err(ObjectError::Locked { until, .. }) => return Err(locked(row.pack_id, until)),
            Err(error) => return Err(StorageError::from(error).into()),
        };
        // A key is called destroyed only when the file without it stands.
        let stands = self.key_objects.read_back(&row.key_file_key, &version, None).await;
        stands.map_err(|error| StorageError::from(error).into())
    }
}

fn locked(pack: Uuid, until: Timestamp) -> Status {
    refusal(
        Code::FailedPrecondition,
        SHRED_LOCKED,
        format!("the keys of pack {pack} are locked until {until}"),
    )
}
