use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use openarchive_domain::{Digest, random};
use openarchive_proto::ingest::v1::{
    GetShredCertificateRequest, GetShredRequest, GetShredResponse, ShredCause, ShredMessagesRequest,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{digests, id_text, reason::check_reason};
use crate::{
    audit::Action,
    backends::{PROOF_TIME_MAX, call},
    caller::Caller,
    extract::{JsonBody, MessageId, ShredId},
    gateway::Services,
    problem::Problem,
    refusal::Service,
};

/// Mails of one order, at most; the catalogue has the same limit.
pub const SHRED_MESSAGES_MAX: usize = 100;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShredWanted {
    /// A random UUID of your own, so that an order whose answer was lost can be sent again: it is carried out once. Made
    /// up if absent.
    #[schema(value_type = Option<String>, example = "5f2b8f0e-6d0c-4b1e-9a55-0d3a2c1b7e44")]
    shred: Option<Uuid>,
    /// Ids of mails, 1 to 100: all are shredded or none.
    messages: Vec<String>,
    /// Why, for people; at most 2,000 bytes.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShredOrderAnswer {
    /// The order's id.
    #[schema(value_type = String)]
    shred: Uuid,
    /// Of the order's leaf in the tenant's evidence log.
    leaf_index: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShredAnswer {
    /// The order's id.
    #[schema(value_type = String)]
    shred: Uuid,
    /// erasure, expiry.
    cause: &'static str,
    /// ordered: no reader gets the mail any more; shredded: its keys are gone.
    state: &'static str,
    leaf_index: u64,
    messages: Vec<String>,
}

/// Shred mail before its time is over, where its class permits erasure: its keys are destroyed, in the archive and in
/// its objects, for ever. Refused for mail under a hold.
#[utoipa::path(
    post,
    path = "/api/v1/shreds/",
    operation_id = "orderShred",
    tag = "governance",
    request_body = ShredWanted,
    responses(
        (status = 200, description = "The order's leaf is durable, and no reader gets the mail any more. The keys follow.", body = ShredOrderAnswer),
        (status = 404, description = "A mail of the list is not there.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn order(
    caller: Caller,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<ShredWanted>,
) -> Result<Json<ShredOrderAnswer>, Problem> {
    check_reason(&wanted.reason)?;
    if wanted.messages.is_empty() || wanted.messages.len() > SHRED_MESSAGES_MAX {
        return Err(Problem::invalid(format!("messages must be 1 to {SHRED_MESSAGES_MAX} mails")));
    }
    let messages = digests(&wanted.messages)?;
    let shred = wanted.shred.unwrap_or_else(|| uuid::Builder::from_random_bytes(random::bytes()).into_uuid());
    let object = format!("{shred}: {}; {}", wanted.reason, wanted.messages.join(" "));
    let act = async {
        let request = ShredMessagesRequest {
            tenant: caller.tenant.to_string(),
            shred: shred.as_bytes().to_vec().into(),
            cause: ShredCause::Erasure.into(),
            messages: messages.iter().map(raw).collect(),
            actor: caller.token_id.clone(),
        };
        let answer = services.backends.catalogue.clone().shred_messages(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().leaf_index)
    };
    let leaf_index = services.audited_before(&caller, Action::ShredOrder, &object, act).await?;
    Ok(Json(ShredOrderAnswer { shred, leaf_index }))
}

/// Show how far an order is.
#[utoipa::path(
    get,
    path = "/api/v1/shreds/{shred}",
    operation_id = "viewShred",
    tag = "governance",
    params(("shred" = String, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "The order.", body = ShredAnswer),
        (status = 404, description = "No such order.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn view(
    caller: Caller,
    ShredId(shred): ShredId,
    State(services): State<Arc<Services>>,
) -> Result<Json<ShredAnswer>, Problem> {
    let read = async {
        let request =
            GetShredRequest { tenant: caller.tenant.to_string(), shred: shred.as_bytes().to_vec().into() };
        let answer = services.backends.catalogue.clone().get_shred(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
    };
    let found = services.audited(&caller, Action::ShredView, &shred.to_string(), read).await?;
    Ok(Json(answer(shred, &found)))
}

/// Certify that a mail was shredded: what was ordered, proven by the log. `archivectl verify-shred` checks it offline.
#[utoipa::path(
    get,
    path = "/api/v1/archive/emails/{id}/shred-certificate",
    operation_id = "certifyShred",
    tag = "governance",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits.")),
    responses(
        (status = 200, description = "The certificate: canonical JSON (RFC 8785), without content.", content_type = "application/json", body = String),
        (status = 404, description = "This mail was not shredded, or its keys are not gone yet.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn certificate(
    caller: Caller,
    MessageId(message): MessageId,
    State(services): State<Arc<Services>>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let read = async {
        let request =
            GetShredCertificateRequest { tenant: caller.tenant.to_string(), message: raw(&message) };
        let request = call(request, &caller.request, PROOF_TIME_MAX);
        let answer = services.backends.catalogue.clone().get_shred_certificate(request).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().certificate)
    };
    let document = services.audited(&caller, Action::ShredCertificate, &message.to_string(), read).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document))
}

fn raw(message: &Digest) -> axum::body::Bytes {
    message.as_bytes().to_vec().into()
}

fn answer(shred: Uuid, found: &GetShredResponse) -> ShredAnswer {
    ShredAnswer {
        shred,
        cause: match found.cause() {
            ShredCause::Unspecified => "unknown",
            ShredCause::Erasure => "erasure",
            ShredCause::Expiry => "expiry",
        },
        state: if found.shredded { "shredded" } else { "ordered" },
        leaf_index: found.leaf_index,
        messages: found.messages.iter().map(|message| id_text(message)).collect(),
    }
}
