use std::sync::Arc;

use openarchive_domain::Tenant;
use openarchive_proto::worker::v1::{
    Job, ListJobsRequest, ListJobsResponse, ReindexRequest, ReindexResponse, RetryJobRequest,
    RetryJobResponse, worker_service_server::WorkerService,
};
use openarchive_rpc::refusal;
use openarchive_schema::{TenantScope, begin};
use tonic::{Code, Request, Response, Status};

use crate::{Queue, WorkerConfig, reindex::reindex};

/// Jobs listed at most, and when the caller names no number.
const LIST_JOBS_MAX: u32 = 1_000;
const LIST_JOBS_DEFAULT: u32 = 100;
const STATES: [&str; 4] = ["ready", "running", "done", "dead"];

pub(crate) struct Server {
    queue: Queue,
    config: Arc<WorkerConfig>,
}

impl Server {
    pub(crate) const fn new(queue: Queue, config: Arc<WorkerConfig>) -> Self {
        Self { queue, config }
    }
}

fn tenant_of(name: &str) -> Result<Tenant, Status> {
    name.parse().map_err(|_| refusal(Code::InvalidArgument, "TENANT", "tenant: the name of a tenant"))
}

fn unavailable(error: &sqlx::Error) -> Status {
    tracing::error!(%error, "the job table cannot be read");
    Status::unavailable("the job table cannot be reached: try again")
}

#[tonic::async_trait]
impl WorkerService for Server {
    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let ListJobsRequest { tenant, state, limit } = request.into_inner();
        if !state.is_empty() && !STATES.contains(&state.as_str()) {
            let message = format!("no such job state; states are {}", STATES.join(", "));
            return Err(refusal(Code::InvalidArgument, "UNKNOWN_STATE", message));
        }
        let tenant = tenant_of(&tenant)?;
        let limit = if limit == 0 { LIST_JOBS_DEFAULT } else { limit.min(LIST_JOBS_MAX) };
        let tx = begin(self.queue.pool(), TenantScope::One(&tenant)).await;
        let mut tx = tx.map_err(|e| unavailable(&e))?;
        let rows = sqlx::query!(
            r#"select job_id, kind, tenant, state, attempts, coalesce(last_error, '') as "last_error!",
                 to_char(run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "run_at!",
                 to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "created_at!"
               from jobs.job
               where tenant = $1 and (state = $2 or ($2 = '' and state <> 'done'))
               order by job_id desc limit $3"#,
            tenant.as_str(),
            state,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(|e| unavailable(&e))?;
        let counts = sqlx::query!(
            r#"select count(*) filter (where state = 'ready') as "ready!",
                 count(*) filter (where state = 'running') as "running!",
                 count(*) filter (where state = 'dead') as "dead!"
               from jobs.job where tenant = $1"#,
            tenant.as_str()
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(|e| unavailable(&e))?;
        let jobs = rows
            .into_iter()
            .map(|r| Job {
                job_id: r.job_id,
                kind: r.kind,
                tenant: r.tenant,
                state: r.state,
                attempts: r.attempts.cast_unsigned(),
                last_error: r.last_error,
                run_at: r.run_at,
                created_at: r.created_at,
            })
            .collect();
        Ok(Response::new(ListJobsResponse {
            jobs,
            ready: counts.ready.cast_unsigned(),
            running: counts.running.cast_unsigned(),
            dead: counts.dead.cast_unsigned(),
        }))
    }

    async fn retry_job(
        &self,
        request: Request<RetryJobRequest>,
    ) -> Result<Response<RetryJobResponse>, Status> {
        let RetryJobRequest { tenant, job_id } = request.into_inner();
        let retried = self.queue.retry(&tenant_of(&tenant)?, job_id).await.map_err(|e| unavailable(&e))?;
        Ok(Response::new(RetryJobResponse { retried }))
    }

    async fn reindex(&self, request: Request<ReindexRequest>) -> Result<Response<ReindexResponse>, Status> {
        let tenant = tenant_of(&request.into_inner().tenant)?;
        let jobs = reindex(&self.config, &self.queue, &tenant).await.map_err(|error| {
            tracing::error!(%error, "messages cannot be queued for the index");
            Status::unavailable("the messages cannot be queued now: try again")
        })?;
        Ok(Response::new(ReindexResponse { jobs }))
    }
}
