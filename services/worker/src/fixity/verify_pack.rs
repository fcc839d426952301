//! One pack that was not whole, among its tenant's jobs.

use openarchive_proto::storage::v1::PackSummary;
use serde_json::json;

use super::{Seen, verify};
use crate::{Queue, WorkerConfig};

pub(crate) const KIND: &str = "verify-pack";

/// Packs claimed at once: each may be large.
const PACKS_TOGETHER_MAX: i64 = 4;

/// A pack that waits, or is among the dead letters, is not ordered again.
pub(super) async fn order(queue: &Queue, pack: &PackSummary) -> Result<(), sqlx::Error> {
    let payload = json!({ "pack": pack.pack_id });
    queue.insert_once(KIND, &pack.tenant, &payload, &pack.pack_id).await
}

/// Reads the packs again: whole ones are done, others go to the dead letters with what was found.
pub(super) async fn run_batch(config: &WorkerConfig, queue: &Queue) -> anyhow::Result<usize> {
    let jobs = queue.claim(KIND, PACKS_TOGETHER_MAX).await?;
    for job in &jobs {
        let pack = job.payload.get("pack").and_then(serde_json::Value::as_str).unwrap_or_default();
        match verify(&config.storage, pack).await {
            Ok(Seen::Whole | Seen::Gone) => queue.done(&[job.job_id]).await?,
            Ok(Seen::Damaged(findings)) => queue.dead(job, &findings.join("; ")).await?,
            Ok(Seen::Unchecked(why)) => queue.dead(job, &format!("it cannot be checked: {why}")).await?,
            Err(status) => {
                queue.failed(job, &format!("storage: {}: {}", status.code(), status.message())).await?;
            }
        }
    }
    Ok(jobs.len())
}
