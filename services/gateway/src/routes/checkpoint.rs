use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_ledger::origin::LogId;
use openarchive_proto::trust::v1::GetCheckpointRequest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{caller::Caller, extract::Parameters, gateway::Services, problem::Problem, refusal::Service};

/// Logs of a tenant.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    #[default]
    Evidence,
    Audit,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// evidence or audit; evidence if absent.
    #[serde(default)]
    #[param(inline)]
    stream: Stream,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointAnswer {
    /// A C2SP signed note.
    note: String,
    origin: String,
    /// C2SP vkey of the log. Trust it only if you have it from elsewhere too.
    verifier_key: String,
}

/// Read the latest published checkpoint of a log. It says nothing of any mail, so it is not recorded.
#[utoipa::path(
    get,
    path = "/api/v1/trust/checkpoint",
    operation_id = "readCheckpoint",
    tag = "evidence",
    params(Asked),
    responses(
        (status = 200, description = "The checkpoint.", body = CheckpointAnswer),
        (status = 404, description = "Nothing was published yet.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn read(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<CheckpointAnswer>, Problem> {
    let stream = match asked.stream {
        Stream::Evidence => LogId::EVIDENCE,
        Stream::Audit => LogId::AUDIT,
    };
    let request = GetCheckpointRequest { log: Some(caller.log(stream)) };
    let answer = services.backends.trust.clone().get_checkpoint(caller.call(request)).await;
    let found = answer.map_err(|status| Service::Trust.refused(&status))?.into_inner();
    Ok(Json(CheckpointAnswer { note: found.note, origin: found.origin, verifier_key: found.verifier_key }))
}
