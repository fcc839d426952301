//! Carrying out orders to shred. The order stands in the ledger before the job is seen; each step may be repeated.

use std::sync::Arc;

use openarchive_proto::{
    index::v1::{DeleteMessagesRequest, index_service_client::IndexServiceClient},
    ingest::v1::{FinishShredRequest, GetShredRequest, catalogue_service_client::CatalogueServiceClient},
    storage::v1::{ShredRequest, storage_service_client::StorageServiceClient},
};
use openarchive_rpc::RpcChannel;
use tonic::Status;
use tracing::error;
use uuid::Uuid;

use crate::{ATTEMPTS_MAX, Job, Queue, WorkerConfig};

/// The kind of the jobs that come with an order.
pub(crate) const KIND: &str = "shred";

/// Orders claimed at once.
const ORDERS_TOGETHER_MAX: i64 = 10;

pub(crate) async fn run_batch(config: Arc<WorkerConfig>, queue: Queue) -> anyhow::Result<usize> {
    let jobs = queue.claim(KIND, ORDERS_TOGETHER_MAX).await?;
    for job in &jobs {
        match carry_out(&config, job).await {
            Ok(()) => queue.done(&[job.job_id]).await?,
            // Never a dead letter: the order stands in the ledger, and until it is carried out its keys do too.
            Err(error) => {
                let why = format!("{error:#}");
                if job.attempts >= ATTEMPTS_MAX {
                    error!(
                        job_id = job.job_id,
                        attempts = job.attempts,
                        why,
                        "an order to shred fails again"
                    );
                }
                queue.put_off(job, &why).await?;
            }
        }
    }
    Ok(jobs.len())
}

/// Keys first: from then on nobody can read the mail. Then the index, then the rows.
async fn carry_out(config: &WorkerConfig, job: &Job) -> anyhow::Result<()> {
    let shred = job.payload.get("shred").and_then(serde_json::Value::as_str);
    let shred: Uuid = shred
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("the job's payload names no order"))?;
    let (tenant, id) = (job.tenant.clone(), shred.as_bytes().to_vec());
    let mut catalogue = CatalogueServiceClient::new(config.catalogue.clone());
    let request = GetShredRequest { tenant: tenant.clone(), shred: id.clone().into() };
    let order = catalogue.get_shred(request).await.map_err(|s| refused("the order", &s))?.into_inner();
    // Carried out by a worker that did not come to say so. The same mail may have come again since, and is found again;
    // also where another worker, which came to the order too, took it out of the index after that.
    if order.shredded {
        return finish(&mut catalogue, tenant, id).await;
    }
    let request = ShredRequest { tenant: tenant.clone(), leaf_index: order.leaf_index };
    let mut storage = StorageServiceClient::new(config.storage.clone());
    storage.shred(request).await.map_err(|s| refused("the keys", &s))?;
    let request = DeleteMessagesRequest { tenant: tenant.clone(), messages: order.messages };
    let mut index = IndexServiceClient::new(config.index.clone());
    index.delete_messages(request).await.map_err(|s| refused("the index", &s))?;
    finish(&mut catalogue, tenant, id).await
}

/// The rows say nothing of the mail any more; what came again meanwhile is indexed anew.
async fn finish(
    catalogue: &mut CatalogueServiceClient<RpcChannel>,
    tenant: String,
    shred: Vec<u8>,
) -> anyhow::Result<()> {
    let request = FinishShredRequest { tenant, shred: shred.into() };
    catalogue.finish_shred(request).await.map_err(|s| refused("the rows", &s))?;
    Ok(())
}

fn refused(what: &str, status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{what}: {}: {}", status.code(), status.message())
}
