use std::{collections::BTreeSet, time::Duration};

use openarchive_domain::Tenant;
use openarchive_ledger::origin::TenantOrArchive;
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tracing::{Instrument as _, info, warn};

use super::{oldest_rows, settle};
use crate::{failure::Failure, governance, ledger_client::LedgerClient};

/// Time between two sweeps. Rows younger than that belong to calls that are about to send them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Sends what calls left behind: at start what an earlier process left, then what has lain for an interval.
pub(crate) struct Sweeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sweeper {
    pub(crate) fn start(pool: PgPool, ledger: LedgerClient, tenants: BTreeSet<Tenant>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { sweep_until(stopped, &pool, &ledger, &tenants).await });
        Self { stop, task }
    }

    /// Returns when the sweep under way has ended.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            warn!(%error, "the outbox sweeper ended early");
        }
    }
}

async fn sweep_until(
    mut stopped: watch::Receiver<bool>,
    pool: &PgPool,
    ledger: &LedgerClient,
    tenants: &BTreeSet<Tenant>,
) {
    let mut seen = newest(pool).await;
    loop {
        for tenant in tenants {
            let swept = async {
                sweep(pool, ledger, tenant, seen).await?;
                governance::sweep(pool, ledger, &tenant.clone().into()).await
            };
            if let Err(error) = swept.await {
                warn!(%tenant, %error, "leaves wait in the outbox, the next sweep tries again");
            }
        }
        if let Err(error) = governance::sweep(pool, ledger, &TenantOrArchive::Archive).await {
            warn!(%error, "leaves of the archive's own acts wait, the next sweep tries again");
        }
        seen = newest(pool).await;
        let stop = stopped.wait_for(|stopped| *stopped);
        if timeout(SWEEP_INTERVAL, stop).await.is_ok() {
            return;
        }
    }
}

/// The youngest row there is; none while the database does not answer.
async fn newest(pool: &PgPool) -> i64 {
    let newest = async {
        let mut tx = begin(pool, TenantScope::All).await?;
        sqlx::query_scalar!("select max(outbox_id) from ingest.outbox").fetch_one(&mut *tx).await
    };
    newest.await.ok().flatten().unwrap_or(0)
}

/// Sends every row up to and including `last`. A row that cannot be settled does not hold up those behind it.
pub(crate) async fn sweep(
    pool: &PgPool,
    ledger: &LedgerClient,
    tenant: &Tenant,
    last: i64,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let rows = oldest_rows(pool, tenant, after, last).await?;
        let Some(youngest) = rows.last() else { return Ok(()) };
        after = youngest.outbox_id;
        let span = openarchive_telemetry::work_span("ingest", "sweep outbox");
        let settled = settle(pool, ledger, tenant, rows).instrument(span).await?;
        info!(%tenant, leaves = settled.len(), "leaves that waited in the outbox are durable");
    }
}
