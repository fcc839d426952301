//! Sending pack leaves to the ledger. A row goes when its leaf's index is back. Archive-wide packs (tenant `_`) go to
//! the log `_/evidence`, like every tenant's to its own.

use std::{sync::Arc, time::Duration};

use openarchive_envelope::BlobScope;
use openarchive_ledger::{leaf::PackLeaf, origin::LogId};
use openarchive_proto::trust::v1::{
    AppendEntry, AppendRequest, Leaf, Log, trust_service_client::TrustServiceClient,
};
use openarchive_rpc::RpcChannel;
use openarchive_schema::{TenantScope, begin, run_tx};
use sqlx::PgPool;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use crate::{StorageError, blob_id::rows_of};

/// Leaves of one call to trust, at most.
const LEAVES_PER_CALL_MAX: i64 = 1_000;
/// How soon a failed turn is repeated, at first; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// How soon a failed turn is repeated, at last.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Without a wake-up it looks so often: for rows of other processes that have ended.
const LOOK_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Outbox {
    pub(crate) pool: PgPool,
    pub(crate) trust: TrustServiceClient<RpcChannel>,
    pub(crate) wake: Arc<Notify>,
}

struct Row {
    outbox_id: i64,
    pack_id: Uuid,
    key: Vec<u8>,
    body: String,
    sha256: Vec<u8>,
}

impl Outbox {
    /// Sends until it is told to stop. Idempotent: several processes may send the same rows.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let sent = self.send_all().await;
            let pause = async {
                match sent {
                    Ok(()) => {
                        back_off = BACK_OFF_FIRST;
                        let _ = timeout(LOOK_EVERY, self.wake.notified()).await;
                    }
                    Err(error) => {
                        warn!(error = error.chain(), "pack leaves wait for the ledger");
                        sleep(back_off).await;
                        back_off = (back_off * 2).min(BACK_OFF_MAX);
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
        }
    }

    /// Sends every row that stands there, tenant by tenant; one tenant's failure does not hold up the others.
    async fn send_all(&self) -> Result<(), StorageError> {
        let tenants = sqlx::query_scalar!(
            "select distinct pack.tenant from storage.outbox join storage.pack using (pack_id)"
        )
        .fetch_all(&mut *begin(&self.pool, TenantScope::All).await?)
        .await?;
        let mut failed = None;
        for tenant in tenants {
            let scope = tenant.parse().map_err(|_| StorageError::Row { table: "pack", column: "tenant" })?;
            if let Err(error) = self.send_tenant(&scope).await {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn send_tenant(&self, tenant: &BlobScope) -> Result<(), StorageError> {
        let mut after = 0;
        loop {
            let rows = sqlx::query_as!(
                Row,
                "select outbox_id, pack_id, idempotency_key as key, body, pack.sha256
                 from storage.outbox join storage.pack using (pack_id)
                 where pack.tenant = $1 and outbox_id > $2 order by outbox_id limit $3",
                tenant.as_str(),
                after,
                LEAVES_PER_CALL_MAX,
            )
            .fetch_all(&mut *begin(&self.pool, rows_of(tenant)).await?)
            .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.outbox_id;
            self.send(tenant, &rows).await?;
        }
    }

    async fn send(&self, tenant: &BlobScope, rows: &[Row]) -> Result<(), StorageError> {
        let entries = rows.iter().map(|row| AppendEntry {
            idempotency_key: row.key.clone().into(),
            expected_previous: None,
            body: row.body.clone(),
        });
        let log = Log { tenant: tenant.to_string(), stream: LogId::EVIDENCE.to_owned() };
        let request = AppendRequest { log: Some(log), entries: entries.collect() };
        let answer = self.trust.clone().append(request).await;
        let leaves = answer
            .map_err(|status| StorageError::Trust { action: "append pack leaves", status })?
            .into_inner()
            .leaves;
        if leaves.len() != rows.len() {
            return Err(StorageError::TrustAnswer("other than one leaf for each entry"));
        }
        let (mut done, mut packs, mut indices) = (Vec::new(), Vec::new(), Vec::new());
        for (row, leaf) in rows.iter().zip(&leaves) {
            if row.is_said_by(leaf) {
                done.push(row.outbox_id);
                packs.push(row.pack_id);
                indices.push(leaf.index as i64);
            } else {
                // The row stays, so that fsck finds the pack without its leaf.
                error!(pack = %row.pack_id, leaf = leaf.index, "the ledger says something else of a pack than the catalogue");
            }
        }
        self.settle(tenant, Settled { done, packs, indices }).await
    }

    async fn settle(&self, tenant: &BlobScope, settled: Settled) -> Result<(), StorageError> {
        let settled = Arc::new(settled);
        run_tx(&self.pool, "pack leaves", rows_of(tenant), move |tx| {
            let settled = settled.clone();
            Box::pin(async move {
                sqlx::query!(
                    "update storage.pack set leaf_index = sent.leaf_index
                     from unnest($1::uuid[], $2::bigint[]) as sent(pack_id, leaf_index)
                     where pack.pack_id = sent.pack_id",
                    &settled.packs,
                    &settled.indices
                )
                .execute(&mut **tx)
                .await?;
                sqlx::query!("delete from storage.outbox where outbox_id = any($1)", &settled.done)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            })
        })
        .await?;
        Ok(())
    }
}

/// Rows whose leaves are durable, with their packs and indices.
struct Settled {
    done: Vec<i64>,
    packs: Vec<Uuid>,
    indices: Vec<i64>,
}

impl Row {
    /// The key may have had a leaf before (a rebuild sends again): that leaf stands, whatever we sent.
    fn is_said_by(&self, leaf: &Leaf) -> bool {
        PackLeaf::parse(&leaf.body).is_ok_and(|stamped| {
            stamped.leaf.pack == *self.pack_id.as_bytes()
                && stamped.leaf.sha256.as_bytes().as_slice() == self.sha256
        })
    }
}
