//! Retention policies, from the last leaf that put a set in force and the encrypted record that it names. What is locked
//! stays locked.

use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;

use super::RebuildReport;
use crate::{
    blob_store::{BlobError, BlobStore},
    evidence_scan,
    failure::Failure,
    finding::Finding,
    ledger_client::LedgerClient,
    policies::{POLICY_RECORD_BYTES_MAX, PolicyLeaf, PolicyRecord},
};

/// A set that is there already is kept. Where the last record cannot be read, the one before it is in force: that is
/// damage, and is named.
pub(super) async fn restore(
    pool: &PgPool,
    blobs: &BlobStore,
    ledger: &LedgerClient,
    report: &mut RebuildReport,
) -> Result<(), Failure> {
    let (leaves, _) = evidence_scan::policies(ledger).await?;
    for (index, leaf) in leaves.iter().rev() {
        match blobs.read_archive_state(leaf.record, POLICY_RECORD_BYTES_MAX).await {
            Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
            Err(damage) => {
                report.damage.push(Finding::PoliciesUnreadable { index: *index, why: damage.to_string() });
            }
            Ok(body) if PolicyRecord::decode(&body).is_some_and(|record| record.version == leaf.version) => {
                return insert(pool, *index, leaf, body).await;
            }
            Ok(_) => {
                let why = "its record is no set of policies of this number".to_owned();
                report.damage.push(Finding::PoliciesUnreadable { index: *index, why });
            }
        }
    }
    Ok(())
}

async fn insert(pool: &PgPool, index: u64, leaf: &PolicyLeaf, body: Vec<u8>) -> Result<(), Failure> {
    let key = leaf.idempotency_key();
    let mut tx = begin(pool, TenantScope::Archive).await?;
    sqlx::query!(
        "with restored as (
           insert into ingest.act (tenant, idempotency_key, body, leaf_index) values ('_', $1, $2, $3)
           on conflict (tenant, idempotency_key) do nothing returning act_id
         )
         insert into ingest.policy_set (tenant, version, record, body, applied_at, act_id)
         select '_', $4, $5, $6, $7, act_id from restored",
        key.as_bytes().as_slice(),
        leaf.body(),
        index as i64,
        leaf.version as i64,
        leaf.record.as_bytes().as_slice(),
        body,
        leaf.occurred_at.as_millis(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
