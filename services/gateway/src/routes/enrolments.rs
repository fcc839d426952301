use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{HeaderName, header, request::Parts},
};
use openarchive_domain::AgentName;
use openarchive_proto::ingest::v1::{CreateEnrolmentRequest, RevokeAgentRequest};
use openarchive_rpc::has_reason;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::{
    audit::Action, caller::Caller, extract::JsonBody, gateway::Services, problem::Problem, refusal::Service,
};

/// Longest reason of a revocation, in bytes: it stands in the audit record, whatever the catalogue says to it.
const REASON_BYTES_MAX: usize = 200;

/// The agent that the path names.
#[derive(Debug, Clone)]
pub(crate) struct Name(AgentName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let expected = || Problem::invalid("an agent's name is 1 to 63 of a-z, 0-9 and -");
        let Path(name) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| expected())?;
        Ok(Self(name.parse().map_err(|_| expected())?))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentWanted {
    /// How long the token may be used: 1 to 168 hours; 24 if absent.
    #[serde(default)]
    hours: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolmentAnswer {
    agent: String,
    /// Shown once: the archive keeps only its SHA-256.
    token: String,
    expires_at: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationWanted {
    /// For people; at most 200 bytes.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevocationAnswer {
    agent: String,
    /// When it was revoked first.
    revoked_at: String,
}

/// Make a one-time token with which an agent gets its certificate.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{name}/enrolments",
    operation_id = "createEnrolment",
    tag = "operation",
    params(("name" = String, Path, description = "What the agent is to be called within the tenant.")),
    request_body = EnrolmentWanted,
    responses((status = 200, description = "A token that lets this agent in once.", body = EnrolmentAnswer)),
)]
pub(crate) async fn create(
    caller: Caller,
    Name(name): Name,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<EnrolmentWanted>,
) -> Result<([(HeaderName, &'static str); 1], Json<EnrolmentAnswer>), Problem> {
    let act = async {
        let request = CreateEnrolmentRequest {
            tenant: caller.tenant.to_string(),
            agent: name.to_string(),
            hours: wanted.hours,
        };
        let answer = services.backends.catalogue.clone().create_enrolment(caller.call(request)).await;
        Ok(answer.map_err(|status| refused(&status))?.into_inner())
    };
    let made = services.audited_before(&caller, Action::AgentEnrol, name.as_str(), act).await?;
    let answer = EnrolmentAnswer { agent: name.to_string(), token: made.token, expires_at: made.expires_at };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)))
}

/// Shut an agent out for good.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{name}/revocation",
    operation_id = "revokeAgent",
    tag = "operation",
    params(("name" = String, Path, description = "The agent's name within the tenant.")),
    request_body = RevocationWanted,
    responses((
        status = 200,
        description = "The archive takes nothing from this agent any more, and its name is not given again.",
        body = RevocationAnswer,
    )),
)]
pub(crate) async fn revoke(
    caller: Caller,
    Name(name): Name,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<RevocationWanted>,
) -> Result<Json<RevocationAnswer>, Problem> {
    if wanted.reason.len() > REASON_BYTES_MAX {
        return Err(Problem::invalid(format!("the reason is longer than {REASON_BYTES_MAX} bytes")));
    }
    let object = format!("{name}: {}", wanted.reason);
    let act = async {
        let request = RevokeAgentRequest {
            tenant: caller.tenant.to_string(),
            agent: name.to_string(),
            reason: wanted.reason,
        };
        let answer = services.backends.catalogue.clone().revoke_agent(caller.call(request)).await;
        Ok(answer.map_err(|status| refused(&status))?.into_inner())
    };
    let done = services.audited_before(&caller, Action::AgentRevoke, &object, act).await?;
    Ok(Json(RevocationAnswer { agent: name.to_string(), revoked_at: done.revoked_at }))
}

fn refused(status: &Status) -> Problem {
    if status.code() == Code::FailedPrecondition && has_reason(status, "AGENT_REVOKED") {
        return Problem::invalid(status.message().to_owned());
    }
    Service::Catalogue.refused(status)
}
