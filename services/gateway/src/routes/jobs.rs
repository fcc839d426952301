use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_proto::worker::v1::{Job, ListJobsRequest, RetryJobRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    audit::Action,
    caller::Caller,
    extract::{JobId, Parameters},
    gateway::Services,
    problem::Problem,
    refusal::Service,
};

/// States that jobs are listed by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// All but done ones.
    #[default]
    #[serde(rename = "")]
    Open,
    Ready,
    Running,
    Done,
    Dead,
}

impl JobState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// ready, running, done, dead; all but done if absent.
    #[serde(default)]
    #[param(inline)]
    state: JobState,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsAnswer {
    /// Newest first, at most 100.
    jobs: Vec<JobAnswer>,
    /// All jobs, by state.
    ready: u64,
    running: u64,
    dead: u64,
}

/// A durable task of the archive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAnswer {
    id: i64,
    kind: String,
    state: String,
    attempts: u32,
    /// Why the last attempt failed.
    last_error: String,
    run_at: String,
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetryAnswer {
    id: i64,
    /// Always true: otherwise the answer is a problem.
    retried: bool,
}

/// List jobs.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/",
    operation_id = "listJobs",
    tag = "operation",
    params(Asked),
    responses((status = 200, description = "Jobs of the tenant.", body = JobsAnswer)),
)]
pub(crate) async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<JobsAnswer>, Problem> {
    let state = asked.state.as_str();
    let read = async {
        let request =
            ListJobsRequest { tenant: caller.tenant.to_string(), state: state.to_owned(), limit: 0 };
        let answer = services.backends.worker.clone().list_jobs(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Worker.refused(&status))?.into_inner())
    };
    let found = services.audited(&caller, Action::JobsList, &format!("state={state}"), read).await?;
    let jobs = found.jobs.into_iter().map(job).collect();
    Ok(Json(JobsAnswer { jobs, ready: found.ready, running: found.running, dead: found.dead }))
}

/// Run a dead job again.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/retry",
    operation_id = "retryJob",
    tag = "operation",
    params(("id" = i64, Path, description = "The job's number.")),
    responses(
        (status = 200, description = "The job is ready again.", body = RetryAnswer),
        (status = 404, description = "No such dead job.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn retry(
    caller: Caller,
    JobId(id): JobId,
    State(services): State<Arc<Services>>,
) -> Result<Json<RetryAnswer>, Problem> {
    let act = async {
        let request = RetryJobRequest { tenant: caller.tenant.to_string(), job_id: id };
        let answer = services.backends.worker.clone().retry_job(caller.call(request)).await;
        if answer.map_err(|status| Service::Worker.refused(&status))?.into_inner().retried {
            Ok(RetryAnswer { id, retried: true })
        } else {
            Err(Problem::not_found("there is no dead job of this number"))
        }
    };
    // The leaf comes first: nothing is done that is not recorded.
    services.audited_before(&caller, Action::JobRetry, &id.to_string(), act).await.map(Json)
}

fn job(job: Job) -> JobAnswer {
    JobAnswer {
        id: job.job_id,
        kind: job.kind,
        state: job.state,
        attempts: job.attempts,
        last_error: job.last_error,
        run_at: job.run_at,
        created_at: job.created_at,
    }
}
