use openarchive_proto::{
    index::v1::{IndexStatusRequest, index_service_client::IndexServiceClient},
    ingest::v1::{ListMessagesRequest, Scope, catalogue_service_client::CatalogueServiceClient, scope},
};
use openarchive_rpc::RPC_MESSAGE_BYTES_MAX;
use tracing::info;

use crate::{Queue, WorkerConfig, index_feed::KIND};

/// Messages listed at once.
const PAGE_MESSAGES: u32 = 1_000;

/// An empty index beside a catalogue with messages was lost: everything is queued again.
pub(crate) async fn refill_if_lost(config: &WorkerConfig, queue: &Queue) -> anyhow::Result<()> {
    let mut index = IndexServiceClient::new(config.index.clone());
    if index.index_status(IndexStatusRequest {}).await?.into_inner().documents > 0 {
        return Ok(());
    }
    for tenant in &config.tenants {
        let jobs = reindex(config, queue, tenant).await?;
        if jobs > 0 {
            info!(jobs, "the index is empty and the catalogue is not: every message is queued for the index");
        }
    }
    Ok(())
}

/// Queues every message of a tenant. Messages that wait already are not queued twice. Answers the jobs made.
pub(crate) async fn reindex(config: &WorkerConfig, queue: &Queue, tenant: &str) -> anyhow::Result<u64> {
    let mut catalogue = CatalogueServiceClient::new(config.catalogue.clone())
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX);
    let mut after_ordinal = 0;
    let mut made = 0;
    loop {
        let request = ListMessagesRequest {
            scope: Some(Scope { kind: Some(scope::Kind::All(scope::All {})) }),
            tenant: tenant.to_owned(),
            after_ordinal,
            limit: PAGE_MESSAGES,
        };
        let page = catalogue.list_messages(request).await?.into_inner().messages;
        let Some(last) = page.last() else { return Ok(made) };
        after_ordinal = last.ordinal;
        let digests: Vec<String> = page.iter().map(|m| hex(&m.message)).collect();
        let result = sqlx::query!(
            "insert into jobs.job (kind, tenant, payload, unique_key)
             select $1, $2, jsonb_build_object('message', m), m from unnest($3::text[]) as m
             on conflict do nothing",
            KIND,
            tenant,
            &digests
        )
        .execute(queue.pool())
        .await?;
        made += result.rows_affected();
    }
}

fn hex(digest: &[u8]) -> String {
    openarchive_domain::Digest::try_from(digest).map(|d| d.hex()).unwrap_or_default()
}
