use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_proto::ingest::v1::{ListQuarantineRequest, QuarantinedMessage, ReleaseQuarantineRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{id_text, reason::check_reason};
use crate::{
    audit::Action,
    caller::Caller,
    extract::{JsonBody, MessageId, Parameters},
    gateway::Services,
    problem::Problem,
    refusal::Service,
};

/// Quarantined mails of one answer, at most.
pub const QUARANTINE_LIST_MAX: u32 = 1_000;
/// As many if the caller does not say.
const QUARANTINE_LIST_DEFAULT: u32 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Mail behind this number: `next_after` of the page before.
    #[serde(default)]
    after: u64,
    /// 1 to 1,000; 100 if absent.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineAnswer {
    /// Oldest first.
    messages: Vec<QuarantineEntry>,
    /// Absent if there is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

/// Mail that did not fit its peer's mode: archived and proven like any other, and flagged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineEntry {
    id: String,
    /// Who brought it first.
    agent: String,
    /// What did not fit.
    reason: String,
    archived_at: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineReleaseWanted {
    /// Why, for people; at most 2,000 bytes.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineReleaseAnswer {
    id: String,
    /// Of the release's leaf in the tenant's evidence log.
    leaf_index: u64,
}

/// List mail in quarantine.
#[utoipa::path(
    get,
    path = "/api/v1/quarantine/",
    operation_id = "listQuarantine",
    tag = "governance",
    params(Asked),
    responses((status = 200, description = "Mail that nobody has released.", body = QuarantineAnswer)),
)]
pub(crate) async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<QuarantineAnswer>, Problem> {
    let limit = asked.limit.unwrap_or(QUARANTINE_LIST_DEFAULT);
    if limit == 0 || limit > QUARANTINE_LIST_MAX {
        return Err(Problem::invalid(format!("limit must be from 1 to {QUARANTINE_LIST_MAX}")));
    }
    let object = format!("after={} limit={limit}", asked.after);
    let read = async {
        let request =
            ListQuarantineRequest { tenant: caller.tenant.to_string(), after_ordinal: asked.after, limit };
        let answer = services.backends.catalogue.clone().list_quarantine(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().messages)
    };
    let found = services.audited(&caller, Action::QuarantineList, &object, read).await?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next_after = last.map(|last| last.ordinal);
    Ok(Json(QuarantineAnswer { messages: found.into_iter().map(entry).collect(), next_after }))
}

/// Release a mail from quarantine: somebody has looked at it.
#[utoipa::path(
    post,
    path = "/api/v1/quarantine/{id}/release",
    operation_id = "releaseQuarantine",
    tag = "governance",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits.")),
    request_body = QuarantineReleaseWanted,
    responses(
        (status = 200, description = "The mail has left the list; the leaf that says so is durable.", body = QuarantineReleaseAnswer),
        (status = 404, description = "No such mail.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn release(
    caller: Caller,
    MessageId(message): MessageId,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<QuarantineReleaseWanted>,
) -> Result<Json<QuarantineReleaseAnswer>, Problem> {
    check_reason(&wanted.reason)?;
    let act = async {
        let request = ReleaseQuarantineRequest {
            tenant: caller.tenant.to_string(),
            message: message.as_bytes().to_vec().into(),
            actor: caller.token_id.clone(),
        };
        let answer = services.backends.catalogue.clone().release_quarantine(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().leaf_index)
    };
    let object = format!("{message}: {}", wanted.reason);
    let leaf_index = services.audited_before(&caller, Action::QuarantineRelease, &object, act).await?;
    Ok(Json(QuarantineReleaseAnswer { id: message.to_string(), leaf_index }))
}

fn entry(message: QuarantinedMessage) -> QuarantineEntry {
    QuarantineEntry {
        id: id_text(&message.message),
        agent: message.agent,
        reason: message.reason,
        archived_at: message.archived_at,
    }
}
