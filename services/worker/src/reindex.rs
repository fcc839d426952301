use std::{sync::Arc, time::Duration};

use openarchive_domain::Tenant;
use openarchive_proto::{
    index::v1::{IndexStatusRequest, MarkFilledRequest, index_service_client::IndexServiceClient},
    ingest::v1::{ListMessagesRequest, Scope, catalogue_service_client::CatalogueServiceClient, scope},
};
use openarchive_rpc::RPC_MESSAGE_BYTES_MAX;
use openarchive_schema::{TenantScope, begin};
use tokio::sync::watch;
use tracing::{error, info};

use crate::{Queue, WorkerConfig, index_feed::KIND};

/// Messages listed at once.
const PAGE_MESSAGES: u32 = 1_000;

/// How often the index is looked at: it may be made anew while the worker runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Looks again and again whether the index says of itself that it was filled, until the worker stops. One that does not
/// was lost, damaged, or left by another version and made anew.
pub(crate) async fn keep_filled(config: Arc<WorkerConfig>, queue: Queue, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if let Err(error) = refill_if_lost(&config, &queue).await {
            error!(%error, "cannot tell whether the index was lost, looks again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Queues every message of every tenant if the index was not filled, and then says that it is: the queue is durable.
/// Whoever is stopped in between begins again, and what is indexed already is skipped.
async fn refill_if_lost(config: &WorkerConfig, queue: &Queue) -> anyhow::Result<()> {
    let mut index = IndexServiceClient::new(config.index.clone());
    let status = index.index_status(IndexStatusRequest {}).await?.into_inner();
    if status.filled {
        return Ok(());
    }
    for tenant in &config.tenants {
        let jobs = reindex(config, queue, &tenant.parse()?).await?;
        if jobs > 0 {
            info!(
                jobs,
                "the index is new and the catalogue is not empty: every message is queued for the index"
            );
        }
    }
    index.mark_filled(MarkFilledRequest { generation: status.generation }).await?;
    Ok(())
}

/// Queues every message of a tenant. Messages that wait already are not queued twice. Answers the jobs made.
pub(crate) async fn reindex(config: &WorkerConfig, queue: &Queue, tenant: &Tenant) -> anyhow::Result<u64> {
    let mut catalogue = CatalogueServiceClient::new(config.catalogue.clone())
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX);
    let mut after_ordinal = 0;
    let mut made = 0;
    loop {
        let request = ListMessagesRequest {
            scope: Some(Scope { kind: Some(scope::Kind::All(scope::All {})) }),
            tenant: tenant.to_string(),
            after_ordinal,
            limit: PAGE_MESSAGES,
        };
        let page = catalogue.list_messages(request).await?.into_inner().messages;
        let Some(last) = page.last() else { return Ok(made) };
        after_ordinal = last.ordinal;
        let digests: Vec<String> = page.iter().map(|m| hex(&m.message)).collect();
        let mut tx = begin(queue.pool(), TenantScope::One(tenant)).await?;
        let result = sqlx::query!(
            "insert into jobs.job (kind, tenant, payload, unique_key, traceparent)
             select $1, $2, jsonb_build_object('message', m), m, $4 from unnest($3::text[]) as m
             on conflict do nothing",
            KIND,
            tenant.as_str(),
            &digests,
            openarchive_telemetry::propagation::traceparent()
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        made += result.rows_affected();
    }
}

fn hex(digest: &[u8]) -> String {
    openarchive_domain::Digest::try_from(digest).map(|d| d.hex()).unwrap_or_default()
}
