//! The gRPC service: parse, call, map.

mod agent_certificates;
mod entries;
mod refusals;
mod streams;

use std::sync::Arc;

use futures::TryStreamExt as _;
use openarchive_envelope::{Dek, KEY_BYTES, WRAPPED_KEY_BYTES};
use openarchive_ledger::{
    leaf::TrustMode,
    origin::{LogId, TenantOrArchive},
};
use openarchive_proto::trust::v1::{self as proto, trust_service_server::TrustService};
use openarchive_rpc::refusal;
use tokio::time::{Duration, Instant, timeout_at};
use tonic::{Code, Request, Response, Status};

use crate::{
    log_rows::{self, CheckpointRow, LogRow},
    log_state::LogName,
    proofs,
    sequencer::{Sequencer, StoredLeaf, stopped},
    shared::Shared,
};
use refusals::invalid;

/// Most entries that one call appends, and leaves that one call lists.
pub const LEAVES_PER_CALL_MAX: usize = 1_000;
/// Most indices that one call asks proofs for.
pub const PROOFS_PER_CALL_MAX: usize = 1_000;
/// Most keys that one call wraps or unwraps: those of a full pack and its footer.
pub const KEYS_PER_CALL_MAX: usize = 10_001;
/// Most bytes of leaves in one call, either way: with their framing they fit into one gRPC message.
pub const LEAF_BYTES_PER_CALL_MAX: usize = 32 * 1024 * 1024;
/// How often a waiting reader looks for a checkpoint that another process published.
const CHECKPOINT_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Serves `openarchive.trust.v1.TrustService`.
pub struct TrustServer {
    shared: Arc<Shared>,
    sequencer: Sequencer,
}

impl TrustServer {
    pub(crate) const fn new(shared: Arc<Shared>, sequencer: Sequencer) -> Self {
        Self { shared, sequencer }
    }

    async fn log(&self, log: Option<proto::Log>) -> Result<(LogName, LogRow), Status> {
        let name = log_name(log)?;
        match log_rows::current_log(&self.shared.pool, &name).await {
            Ok(Some(row)) => Ok((name, row)),
            Ok(None) => {
                Err(refusal(Code::NotFound, "LOG_NOT_FOUND", format!("log {name} was never written to")))
            }
            Err(error) => Err(refusals::rows(&error)),
        }
    }

    async fn latest_checkpoint(&self, row: &LogRow) -> Result<CheckpointRow, Status> {
        let checkpoint = log_rows::latest_checkpoint(&self.shared.pool, row).await;
        checkpoint.map_err(|error| refusals::rows(&error))?.ok_or_else(|| {
            refusal(Code::NotFound, "NO_CHECKPOINT", format!("log {} has no checkpoint yet", row.log()))
        })
    }

    /// Waits for a published checkpoint of more than `index` leaves.
    async fn covering_checkpoint(
        &self,
        name: &LogName,
        row: &LogRow,
        index: u64,
    ) -> Result<CheckpointRow, Status> {
        let deadline = Instant::now() + self.shared.proof_wait;
        let state = self.shared.logs.of(name);
        let (mut published, mut stop) = (state.published.subscribe(), self.shared.stop.subscribe());
        loop {
            // Whatever is published from here on is seen by the next wait.
            published.borrow_and_update();
            let checkpoint = log_rows::latest_checkpoint(&self.shared.pool, row).await;
            if let Some(checkpoint) = checkpoint.map_err(|error| refusals::rows(&error))?
                && checkpoint.size > index
            {
                return Ok(checkpoint);
            }
            state.wanted.notify_one();
            let now = Instant::now();
            if now >= deadline {
                return Err(refusals::no_checkpoint_in_time(name, state.failure()));
            }
            tokio::select! {
                () = stopped(&mut stop) => return Err(refusals::shutting_down()),
                // Either outcome leads to another look.
                _ = timeout_at(deadline.min(now + CHECKPOINT_LOOK_INTERVAL), published.changed()) => {}
            }
        }
    }
}

fn log_name(log: Option<proto::Log>) -> Result<LogName, Status> {
    let log = log.ok_or_else(|| invalid("log is missing"))?;
    LogName::parse(&log.tenant, &log.stream).map_err(|error| invalid(error.to_string()))
}

fn owner(tenant: &str) -> Result<TenantOrArchive, Status> {
    tenant.parse().map_err(|error: openarchive_domain::ParseError| invalid(error.to_string()))
}

fn at_most(what: &str, found: usize, max: usize) -> Result<(), Status> {
    if found > max { Err(invalid(format!("{found} {what}: at most {max} are allowed"))) } else { Ok(()) }
}

fn proof(hashes: Vec<openarchive_ledger::Hash>) -> proto::Proof {
    proto::Proof { hashes: hashes.into_iter().map(|hash| hash.as_bytes().to_vec().into()).collect() }
}

fn leaf(leaf: StoredLeaf) -> proto::Leaf {
    proto::Leaf { index: leaf.index, body: leaf.body.into() }
}

#[tonic::async_trait]
impl TrustService for TrustServer {
    async fn append(
        &self,
        request: Request<proto::AppendRequest>,
    ) -> Result<Response<proto::AppendResponse>, Status> {
        streams::may_be_appended_to(&request, request.get_ref().log.as_ref())?;
        let request = request.into_inner();
        let name = log_name(request.log)?;
        at_most("entries", request.entries.len(), LEAVES_PER_CALL_MAX)?;
        at_most(
            "bytes of leaves",
            request.entries.iter().map(|entry| entry.body.len()).sum(),
            LEAF_BYTES_PER_CALL_MAX,
        )?;
        let entries = entries::parse(&name, &request.entries)?;
        if name.stream() == LogId::AUDIT
            && let Some(state) = self.shared.logs.get(&name)
            && let Some(age) = state.oldest_unpublished_age()
            && age > self.shared.stalled_after
        {
            state.wanted.notify_one();
            return Err(refusals::checkpoints_stalled(&name, age));
        }
        let leaves = self.sequencer.append(name, entries).await.map_err(|error| refusals::append(&error))?;
        Ok(Response::new(proto::AppendResponse { leaves: leaves.into_iter().map(leaf).collect() }))
    }

    async fn list_leaves(
        &self,
        request: Request<proto::ListLeavesRequest>,
    ) -> Result<Response<proto::ListLeavesResponse>, Status> {
        streams::may_be_read(&request, request.get_ref().log.as_ref())?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { LEAVES_PER_CALL_MAX } else { request.limit as usize };
        at_most("leaves", limit, LEAVES_PER_CALL_MAX)?;
        let (_, row) = self.log(request.log).await?;
        let start = request.start.min(row.size);
        let end = start.saturating_add(limit as u64).min(row.size);
        let mut tx = row.begin(&self.shared.pool).await.map_err(|error| refusals::database(&error))?;
        let mut rows = sqlx::query!(
            "select leaf_index, body from trust.leaf
             where log_id = $1 and leaf_index >= $2 and leaf_index < $3 order by leaf_index",
            row.log_id,
            start.cast_signed(),
            end.cast_signed(),
        )
        .fetch(&mut *tx);
        let (mut leaves, mut bytes) = (Vec::new(), 0);
        while let Some(found) = rows.try_next().await.map_err(|error| refusals::database(&error))? {
            bytes += found.body.len();
            if bytes > LEAF_BYTES_PER_CALL_MAX {
                break;
            }
            leaves.push(proto::Leaf { index: found.leaf_index.cast_unsigned(), body: found.body.into() });
        }
        Ok(Response::new(proto::ListLeavesResponse { leaves, size: row.size }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<proto::GetCheckpointRequest>,
    ) -> Result<Response<proto::GetCheckpointResponse>, Status> {
        streams::may_be_read(&request, request.get_ref().log.as_ref())?;
        let (_, row) = self.log(request.into_inner().log).await?;
        let note = self.latest_checkpoint(&row).await?.note;
        let (origin, verifier_key) = (row.origin.to_string(), row.verifier_key);
        Ok(Response::new(proto::GetCheckpointResponse { note, origin, verifier_key }))
    }

    async fn get_inclusion_proofs(
        &self,
        request: Request<proto::GetInclusionProofsRequest>,
    ) -> Result<Response<proto::GetInclusionProofsResponse>, Status> {
        streams::may_be_read(&request, request.get_ref().log.as_ref())?;
        let request = request.into_inner();
        at_most("indices", request.indices.len(), PROOFS_PER_CALL_MAX)?;
        let (name, row) = self.log(request.log).await?;
        let last = request.indices.iter().copied().max().ok_or_else(|| invalid("no index is asked for"))?;
        if last >= row.size {
            return Err(refusals::index_beyond_log(&name, last, row.size));
        }
        let checkpoint = self.covering_checkpoint(&name, &row, last).await?;
        let proofs = proofs::inclusion(&self.shared.pool, &row, &request.indices, checkpoint.size).await;
        let proofs = proofs.map_err(|error| refusals::prove(&error))?;
        Ok(Response::new(proto::GetInclusionProofsResponse {
            checkpoint_note: checkpoint.note,
            proofs: proofs.into_iter().map(proof).collect(),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<proto::GetConsistencyProofRequest>,
    ) -> Result<Response<proto::GetConsistencyProofResponse>, Status> {
        streams::may_be_read(&request, request.get_ref().log.as_ref())?;
        let request = request.into_inner();
        let (name, row) = self.log(request.log).await?;
        let published = self.latest_checkpoint(&row).await?.size;
        if request.new_size > published {
            return Err(refusals::size_beyond_checkpoint(&name, request.new_size, published));
        }
        let hashes = proofs::consistency(&self.shared.pool, &row, request.old_size, request.new_size).await;
        let hashes = hashes.map_err(|error| refusals::prove(&error))?;
        Ok(Response::new(proto::GetConsistencyProofResponse { proof: Some(proof(hashes)) }))
    }

    async fn wrap_keys(
        &self,
        request: Request<proto::WrapKeysRequest>,
    ) -> Result<Response<proto::WrapKeysResponse>, Status> {
        let request = request.into_inner();
        let tenant = owner(&request.tenant)?;
        let deks: Vec<[u8; KEY_BYTES]> = fixed("keys", &request.keys)?;
        let current = self.shared.custody.current(&tenant, &self.shared.pool, &self.shared.objects).await;
        let (kek_version, key) = current.map_err(|error| refusals::custody(&error))?;
        let wrap = move || deks.into_iter().map(|dek| key.wrap(&Dek::new(dek)).to_vec().into()).collect();
        let wrapped = off_the_event_loop(wrap).await?;
        Ok(Response::new(proto::WrapKeysResponse { kek_version, wrapped }))
    }

    async fn unwrap_keys(
        &self,
        request: Request<proto::UnwrapKeysRequest>,
    ) -> Result<Response<proto::UnwrapKeysResponse>, Status> {
        let request = request.into_inner();
        let tenant = owner(&request.tenant)?;
        let wrapped: Vec<[u8; WRAPPED_KEY_BYTES]> = fixed("wrapped", &request.wrapped)?;
        let key = self.shared.custody.of_version(&tenant, request.kek_version);
        let key = key.map_err(|error| refusals::custody(&error))?;
        let unwrap = move || {
            let opened = wrapped.iter().enumerate().map(|(position, wrapped)| {
                let dek = key.unwrap(wrapped).map_err(|error| refusals::unwrap(position, error))?;
                Ok(dek.as_bytes().to_vec().into())
            });
            opened.collect::<Result<Vec<_>, Status>>()
        };
        let keys = off_the_event_loop(unwrap).await??;
        Ok(Response::new(proto::UnwrapKeysResponse { keys }))
    }

    async fn issue_agent_certificate(
        &self,
        request: Request<proto::IssueAgentCertificateRequest>,
    ) -> Result<Response<proto::IssueAgentCertificateResponse>, Status> {
        agent_certificates::issue(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_log_policy(
        &self,
        request: Request<proto::GetLogPolicyRequest>,
    ) -> Result<Response<proto::GetLogPolicyResponse>, Status> {
        agent_certificates::policy(&self.shared, request.get_ref()).map(Response::new)
    }

    async fn get_trust_mode(
        &self,
        _request: Request<proto::GetTrustModeRequest>,
    ) -> Result<Response<proto::GetTrustModeResponse>, Status> {
        Ok(Response::new(proto::GetTrustModeResponse {
            mode: TrustMode::NonQualified.as_str().to_owned(),
            custody: "software keys in files that only the archive's user can read; nobody vouches for them"
                .to_owned(),
        }))
    }
}

/// Keys of exactly `N` bytes, at most [`KEYS_PER_CALL_MAX`].
fn fixed<const N: usize, B: AsRef<[u8]>>(what: &str, keys: &[B]) -> Result<Vec<[u8; N]>, Status> {
    at_most(what, keys.len(), KEYS_PER_CALL_MAX)?;
    keys.iter()
        .map(|key| key.as_ref().try_into().map_err(|_| invalid(format!("one of `{what}` has not {N} bytes"))))
        .collect()
}

/// Key wrapping of a full pack takes tens of milliseconds, as a check of a long RSA key may: not where other calls wait.
async fn off_the_event_loop<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("work with keys broke off"))
}
