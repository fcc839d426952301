//! The fixity pass: every pack is read again in turn, all of them once in an interval, no faster than a given rate.
//!
//! One job of the archive itself (tenant `_`) is the pass; its payload says how far it is and what it saw. A worker that
//! claims it verifies a slice of packs and puts the job back, due when the slice's bytes are paid for: so a pass survives
//! restarts, and of several workers one at a time carries it on.
//!
//! A pack that is not whole becomes a job of its tenant (`verify_pack`), which goes to the dead letters with what was
//! found. There people see it, and their retry reads the pack again.
//!
//! While storage does not answer, the pass waits where it is. If storage lists its packs, but time and again fails to
//! read the next one, that pack becomes such a job too, and the pass goes on: it never ends at one bad file.

mod pass;
mod verify_pack;

use std::{sync::Arc, time::Duration};

use openarchive_domain::Clock;
use openarchive_proto::storage::v1::{
    ListPacksRequest, PackSummary, VerifyPackRequest, storage_service_client::StorageServiceClient,
};
use openarchive_rpc::RpcChannel;
use openarchive_telemetry::metrics;
use tonic::{Code, Status};
use tracing::{error, info, warn};

use crate::{Job, Queue, WorkerConfig, queue::cut};
use pass::Pass;

/// The kind of the one job that is the pass.
const KIND: &str = "fixity";

/// Time in which every pack is read again, by default.
pub const FIXITY_INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes that a pass reads in a second, at most, by default: 43 TB in the default interval.
pub const FIXITY_BYTES_PER_SECOND_DEFAULT: u64 = 16 * 1024 * 1024;

/// A slice ends with the pack that makes it this long, in bytes.
const SLICE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Packs of one slice, at most: it must end long before the job's lease does.
const SLICE_PACKS_MAX: u32 = 200;
/// Wait after a slice that storage did not answer for.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How every pack is read again.
#[derive(Clone)]
pub struct Fixity {
    /// From the beginning of a pass to that of the next one; the first one begins so long after the archive.
    pub interval: Duration,
    /// Bytes that are read in a second, on average, at most.
    pub bytes_per_second: u64,
    pub clock: Arc<dyn Clock>,
}

impl Fixity {
    /// Every 30 days, with 16 MiB a second.
    pub fn usual(clock: Arc<dyn Clock>) -> Self {
        Self { interval: FIXITY_INTERVAL_DEFAULT, bytes_per_second: FIXITY_BYTES_PER_SECOND_DEFAULT, clock }
    }

    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.max(1) as f64)
    }
}

/// Looks at packs that were not whole, then carries on the pass. Answers how many jobs it claimed.
pub(crate) async fn run_batch(config: Arc<WorkerConfig>, queue: Queue) -> anyhow::Result<usize> {
    let mut claimed = verify_pack::run_batch(&config, &queue).await?;
    let Some(fixity) = &config.fixity else { return Ok(claimed) };
    for job in queue.claim(KIND, 1).await? {
        claimed += 1;
        let (pass, due_in) = slice(fixity, &config, &queue, &job).await?;
        queue.put_back(&job, &pass.to_json(), due_in).await?;
    }
    Ok(claimed)
}

/// Makes the job of the pass, if it is not there, and shows when the last pass ended.
pub(crate) async fn prepare(fixity: &Fixity, queue: &Queue) -> Result<(), sqlx::Error> {
    let payload = queue.ensure_singleton(KIND, &Pass::default().to_json(), fixity.interval).await?;
    Pass::of(&payload).show();
    Ok(())
}

/// Verifies the next packs. Answers where the pass stands then, and when it goes on.
async fn slice(
    fixity: &Fixity,
    config: &WorkerConfig,
    queue: &Queue,
    job: &Job,
) -> Result<(Pass, Duration), sqlx::Error> {
    let mut pass = Pass::of(&job.payload);
    pass.begin(fixity.clock.now());
    let packs = match list(&config.storage, &pass.after).await {
        Ok(packs) => packs,
        Err(status) => return Ok((pass, later(&status))),
    };
    let ends_here = packs.len() < SLICE_PACKS_MAX as usize;
    let mut bytes = 0;
    for pack in packs {
        let seen = match verify(&config.storage, &pack.pack_id).await {
            Ok(seen) => seen,
            Err(status) if pass.may_try_again() => return Ok((pass, later_with(&pack, &status))),
            Err(status) => Seen::Unchecked(format!("it could not be read: {}", said(&status))),
        };
        tell(queue, &pack, &seen).await?;
        pass.note(&pack, &seen);
        bytes += pack.length;
        queue.heartbeat(&[job.job_id]).await?;
        if bytes >= SLICE_BYTES_MAX {
            return Ok((pass, fixity.time_of(bytes)));
        }
    }
    if !ends_here {
        return Ok((pass, fixity.time_of(bytes)));
    }
    let due_in = pass.end(fixity.clock.now(), fixity.interval);
    info!(
        packs = pass.last_packs,
        bytes = pass.last_bytes,
        damaged = pass.last_damaged,
        "every pack was read again"
    );
    pass.show();
    Ok((pass, due_in))
}

/// Storage is away: the pass stands where it was.
fn later(status: &Status) -> Duration {
    warn!(code = ?status.code(), "the fixity pass waits for storage");
    AGAIN_AFTER
}

/// The pack is tried again, before any other.
fn later_with(pack: &PackSummary, status: &Status) -> Duration {
    warn!(pack = %pack.pack_id, why = cut(&said(status)), "storage did not read a pack, the fixity pass tries it again");
    AGAIN_AFTER
}

/// Storage's words name places, never content.
fn said(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

/// What a pack looks like when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Whole,
    /// One sentence for each thing that is wrong. They name places, never content.
    Damaged(Vec<String>),
    /// Storage refuses to check it, and would again; or could not, as often as it was asked.
    Unchecked(String),
    /// It went meanwhile.
    Gone,
}

async fn list(storage: &RpcChannel, after: &str) -> Result<Vec<PackSummary>, Status> {
    let request = ListPacksRequest { after_pack_id: after.to_owned(), limit: SLICE_PACKS_MAX };
    Ok(StorageServiceClient::new(storage.clone()).list_packs(request).await?.into_inner().packs)
}

/// An error means that the same call may succeed later.
async fn verify(storage: &RpcChannel, pack_id: &str) -> Result<Seen, Status> {
    let request = VerifyPackRequest { pack_id: pack_id.to_owned() };
    match StorageServiceClient::new(storage.clone()).verify_pack(request).await {
        Ok(answer) => {
            let findings = answer.into_inner().findings;
            Ok(if findings.is_empty() { Seen::Whole } else { Seen::Damaged(findings) })
        }
        Err(status) => match status.code() {
            Code::NotFound => Ok(Seen::Gone),
            Code::Internal | Code::DataLoss | Code::FailedPrecondition | Code::InvalidArgument => {
                Ok(Seen::Unchecked(said(&status)))
            }
            _ => Err(status),
        },
    }
}

/// Says aloud what is not whole, and leaves it where people look.
async fn tell(queue: &Queue, pack: &PackSummary, seen: &Seen) -> Result<(), sqlx::Error> {
    match seen {
        Seen::Whole => metrics::FIXITY_PACKS.inc(["whole"]),
        Seen::Gone => return Ok(()),
        Seen::Damaged(findings) => {
            metrics::FIXITY_PACKS.inc(["damaged"]);
            let (count, findings) = (findings.len(), cut(&findings.join("; ")));
            error!(pack = %pack.pack_id, count, findings, "a pack is damaged: run `openarchive fsck`");
            verify_pack::order(queue, pack).await?;
        }
        Seen::Unchecked(why) => {
            metrics::FIXITY_PACKS.inc(["unchecked"]);
            error!(pack = %pack.pack_id, why = cut(why), "a pack cannot be checked: run `openarchive fsck`");
            verify_pack::order(queue, pack).await?;
        }
    }
    metrics::FIXITY_BYTES.add([], pack.length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use openarchive_domain::SystemClock;

    use super::*;

    #[test]
    fn bytes_are_paid_for_with_time() {
        let fixity = Fixity { bytes_per_second: 1_000, ..Fixity::usual(Arc::new(SystemClock)) };
        assert_eq!(fixity.time_of(0), Duration::ZERO);
        assert_eq!(fixity.time_of(2_500), Duration::from_millis(2_500));
    }
}
