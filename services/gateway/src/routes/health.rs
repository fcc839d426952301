use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use openarchive_proto::{
    index::v1::IndexStatusRequest, ingest::v1::ListAgentsRequest, trust::v1::GetTrustModeRequest,
    worker::v1::ListJobsRequest,
};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::{backends::call, gateway::Services, refusal::Service, request_id::RequestId};

/// Longest wait for a part to show that it is alive.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);
/// An answer this old is given again: everybody may ask, and asking must cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A tenant's name for calls that only show that a part answers. Nothing of what they say is passed on.
const NOBODY: &str = "health";

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// ok or down.
    status: &'static str,
    /// Parts that do not answer: database, catalogue, index, trust, worker.
    down: Vec<&'static str>,
}

/// The last look, and when it was.
#[derive(Default)]
pub(crate) struct LastHealth(Mutex<Option<(Instant, HealthAnswer)>>);

/// Say whether the archive can answer. Needs no token.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    operation_id = "readHealth",
    tag = "operation",
    security(()),
    responses(
        (status = 200, description = "All parts answer.", body = HealthAnswer),
        (status = 503, description = "Some part does not.", body = HealthAnswer),
    ),
)]
pub(crate) async fn read(
    State(services): State<Arc<Services>>,
    Extension(request): Extension<RequestId>,
) -> Response {
    let mut last = services.last_health.0.lock().await;
    let health = match &*last {
        Some((when, health)) if when.elapsed() < LOOK_INTERVAL => health.clone(),
        _ => {
            let health = look(&services, &request).await;
            *last = Some((Instant::now(), health.clone()));
            health
        }
    };
    let status = if health.down.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

async fn look(services: &Services, request: &RequestId) -> HealthAnswer {
    let backends = services.backends.clone();
    let (mut catalogue, mut index, mut trust, mut worker) =
        (backends.catalogue, backends.index, backends.trust, backends.worker);
    let nobody = || NOBODY.to_owned();
    let agents = call(ListAgentsRequest { tenant: nobody(), agent: String::new() }, request, LOOK_TIME_MAX);
    let jobs = ListJobsRequest { tenant: nobody(), state: String::new(), limit: 1 };
    let database = async {
        let look = sqlx::query!("select 1 as one").fetch_one(&services.pool);
        matches!(timeout(LOOK_TIME_MAX, look).await, Ok(Ok(_)))
    };
    let (database, catalogue, index, trust, worker) = tokio::join!(
        database,
        async { answers(&catalogue.list_agents(agents).await) },
        async { answers(&index.index_status(call(IndexStatusRequest {}, request, LOOK_TIME_MAX)).await) },
        async { answers(&trust.get_trust_mode(call(GetTrustModeRequest {}, request, LOOK_TIME_MAX)).await) },
        async { answers(&worker.list_jobs(call(jobs, request, LOOK_TIME_MAX)).await) },
    );
    let parts = [
        ("database", database),
        (Service::Catalogue.as_str(), catalogue),
        (Service::Index.as_str(), index),
        (Service::Trust.as_str(), trust),
        (Service::Worker.as_str(), worker),
    ];
    let down: Vec<_> = parts.into_iter().filter(|(_, up)| !up).map(|(part, _)| part).collect();
    HealthAnswer { status: if down.is_empty() { "ok" } else { "down" }, down }
}

/// A part that refuses a call is alive.
fn answers<T>(answer: &Result<T, Status>) -> bool {
    let dead = |code| {
        matches!(
            code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Internal | Code::Cancelled
        )
    };
    answer.as_ref().err().is_none_or(|status| !dead(status.code()))
}
