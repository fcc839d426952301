//! What PostgreSQL says of a log: its row, its latest checkpoint, hashes of its complete subtrees.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::Timestamp;
use openarchive_ledger::{
    Hash,
    origin::{LogId, Origin, TenantOrArchive},
    tree::{HashReader, NodeId},
};
use openarchive_schema::{TenantScope, Transaction, begin};
use sqlx::PgPool;

use crate::log_state::LogName;

/// A row that cannot be: somebody else than this program wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database is damaged: {what} of log {log}; run `openarchive fsck`")]
pub struct RowDamage {
    pub log: String,
    pub what: &'static str,
}

/// Why a log's rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    #[error("the ledger's rows cannot be read")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

/// A row of `trust.log`.
#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    pub(crate) log_id: i64,
    pub(crate) origin: Origin,
    pub(crate) verifier_key: String,
    /// Durable leaves.
    pub(crate) size: u64,
    pub(crate) last_time: Timestamp,
}

impl LogRow {
    pub(crate) fn log(&self) -> &LogId {
        self.origin.log()
    }

    /// A transaction that sees the log's owner's rows and no others. For reads: dropping it ends it.
    pub(crate) async fn begin(&self, pool: &PgPool) -> Result<Transaction, sqlx::Error> {
        begin(pool, rows_of(self.log().owner())).await
    }
}

/// Whose rows an owner's logs and keys are.
pub(crate) const fn rows_of(owner: &TenantOrArchive) -> TenantScope<'_> {
    match owner {
        TenantOrArchive::Archive => TenantScope::Archive,
        TenantOrArchive::Tenant(tenant) => TenantScope::One(tenant),
    }
}

/// A row of `trust.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointRow {
    pub(crate) ordinal: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) note: String,
}

/// The log's current epoch, `None` if it was never opened.
pub(crate) async fn current_log(pool: &PgPool, name: &LogName) -> Result<Option<LogRow>, RowsError> {
    let row = sqlx::query!(
        "select log_id, origin, verifier_key, next_index, last_time from trust.log
         where tenant = $1 and stream = $2 order by epoch desc limit 1",
        name.owner().as_str(),
        name.stream(),
    )
    .fetch_optional(&mut *begin(pool, rows_of(name.owner())).await?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    log_row(row.log_id, &row.origin, row.verifier_key, row.next_index, row.last_time).map(Some)
}

/// Every epoch of every log, by tenant, stream, epoch.
pub(crate) async fn all_logs(pool: &PgPool) -> Result<Vec<LogRow>, RowsError> {
    let rows = sqlx::query!(
        "select log_id, origin, verifier_key, next_index, last_time from trust.log
         order by tenant, stream, epoch"
    )
    .fetch_all(&mut *begin(pool, TenantScope::All).await?)
    .await?;
    rows.into_iter()
        .map(|row| log_row(row.log_id, &row.origin, row.verifier_key, row.next_index, row.last_time))
        .collect()
}

/// This epoch of this log, `None` if it has no row.
pub(crate) async fn log_of_epoch(pool: &PgPool, log: &LogId) -> Result<Option<LogRow>, RowsError> {
    let row = sqlx::query!(
        "select log_id, origin, verifier_key, next_index, last_time from trust.log
         where tenant = $1 and stream = $2 and epoch::bigint = $3",
        log.owner().as_str(),
        log.stream(),
        log.epoch().cast_signed(),
    )
    .fetch_optional(&mut *begin(pool, rows_of(log.owner())).await?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    log_row(row.log_id, &row.origin, row.verifier_key, row.next_index, row.last_time).map(Some)
}

fn log_row(
    log_id: i64,
    origin: &str,
    verifier_key: String,
    next_index: i64,
    last_time: i64,
) -> Result<LogRow, RowsError> {
    let damage = RowDamage { log: origin.to_owned(), what: "the origin is none" };
    Ok(LogRow {
        log_id,
        origin: origin.parse().map_err(|_| damage)?,
        verifier_key,
        size: next_index.cast_unsigned(),
        last_time: Timestamp::from_millis(last_time),
    })
}

/// The latest published checkpoint.
pub(crate) async fn latest_checkpoint(
    pool: &PgPool,
    log: &LogRow,
) -> Result<Option<CheckpointRow>, RowsError> {
    let row = sqlx::query!(
        "select ordinal, size, root, note from trust.checkpoint
         where log_id = $1 order by ordinal desc limit 1",
        log.log_id,
    )
    .fetch_optional(&mut *log.begin(pool).await?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(CheckpointRow {
        ordinal: row.ordinal.cast_unsigned(),
        size: row.size.cast_unsigned(),
        root: hash(log, &row.root)?,
        note: row.note,
    }))
}

pub(crate) fn hash(log: &LogRow, bytes: &[u8]) -> Result<Hash, RowDamage> {
    Hash::try_from(bytes)
        .map_err(|_| RowDamage { log: log.log().to_string(), what: "a hash has not 32 bytes" })
}

/// Hashes of complete subtrees, read for one question.
#[derive(Debug)]
pub(crate) struct Nodes {
    log: String,
    hashes: BTreeMap<NodeId, Hash>,
}

impl HashReader for Nodes {
    type Error = RowDamage;

    fn hash(&self, node: NodeId) -> Result<Hash, RowDamage> {
        let damage = || RowDamage { log: self.log.clone(), what: "a leaf or a complete subtree is missing" };
        self.hashes.get(&node).copied().ok_or_else(damage)
    }
}

/// Reads the hashes of these subtrees: two index scans, whatever their number.
pub(crate) async fn nodes(
    pool: &PgPool,
    log: &LogRow,
    wanted: impl IntoIterator<Item = NodeId>,
) -> Result<Nodes, RowsError> {
    let wanted: BTreeSet<NodeId> = wanted.into_iter().collect();
    let (leaves, inner): (Vec<NodeId>, Vec<NodeId>) = wanted.into_iter().partition(|node| node.level == 0);
    let mut hashes = BTreeMap::new();
    let mut tx = log.begin(pool).await?;
    if !leaves.is_empty() {
        let indices: Vec<i64> = leaves.iter().map(|node| node.index.cast_signed()).collect();
        let rows = sqlx::query!(
            "select leaf_index, leaf_hash from trust.leaf where log_id = $1 and leaf_index = any($2)",
            log.log_id,
            &indices,
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let node = NodeId { level: 0, index: row.leaf_index.cast_unsigned() };
            hashes.insert(node, hash(log, &row.leaf_hash)?);
        }
    }
    if !inner.is_empty() {
        let levels: Vec<i16> = inner.iter().map(|node| node.level.into()).collect();
        let indices: Vec<i64> = inner.iter().map(|node| node.index.cast_signed()).collect();
        let rows = sqlx::query!(
            "select n.level, n.node_index, n.hash
             from unnest($2::smallint[], $3::bigint[]) as wanted (level, node_index)
             join trust.node n
               on n.log_id = $1 and n.level = wanted.level and n.node_index = wanted.node_index",
            log.log_id,
            &levels,
            &indices,
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let node =
                NodeId { level: row.level.cast_unsigned() as u8, index: row.node_index.cast_unsigned() };
            hashes.insert(node, hash(log, &row.hash)?);
        }
    }
    Ok(Nodes { log: log.log().to_string(), hashes })
}
