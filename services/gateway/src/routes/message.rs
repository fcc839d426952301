use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_domain::Digest;
use openarchive_proto::ingest::v1::{
    Envelope, GetMessageRequest, GetMessageResponse, MessageSummary, ObservationSummary,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{instance_text, present};
use crate::{
    audit::Action, backends::everything, caller::Caller, extract::MessageId, gateway::Services,
    problem::Problem, refusal::Service,
};

/// All that the archive says about a mail without opening it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageAnswer {
    id: String,
    subject: String,
    from: String,
    to: Vec<String>,
    cc: Vec<String>,
    /// Of the Date header, RFC 3339; null when absent or unreadable.
    date: Option<String>,
    /// Of the Message-ID header, without angle brackets; null when absent.
    message_id: Option<String>,
    /// In bytes.
    length: u64,
    /// Retention class.
    class: String,
    /// What is unusual about its bytes.
    flags: Vec<String>,
    archived_at: String,
    /// File names.
    attachments: Vec<String>,
    /// Each time that it was seen, in the order in which the archive learnt of it.
    observations: Vec<ObservationAnswer>,
}

/// One time that an agent saw the mail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObservationAnswer {
    agent: String,
    /// UUID of the agent's buffer.
    instance: String,
    /// Decimal: more than a JSON number holds everywhere.
    agent_epoch: String,
    seq: u64,
    /// stored, duplicate, quarantined.
    state: String,
    /// Of a quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    envelope: EnvelopeAnswer,
    /// By the agent's clock.
    occurred_at: String,
    recorded_at: String,
    /// In the tenant's evidence log; null until it is durable.
    leaf_index: Option<u64>,
}

/// What the mail server said of the mail. Blind copies stand here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnvelopeAnswer {
    /// "" is the null sender.
    from: String,
    to: Vec<String>,
    peer: String,
    mode: String,
}

/// Describe a mail: headers, attachments, each time it was seen.
#[utoipa::path(
    get,
    path = "/api/v1/archive/emails/{id}/",
    operation_id = "viewEmail",
    tag = "mail",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits.")),
    responses(
        (status = 200, description = "The mail's description.", body = MessageAnswer),
        (status = 404, description = "No such mail.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn view(
    caller: Caller,
    MessageId(message): MessageId,
    State(services): State<Arc<Services>>,
) -> Result<Json<MessageAnswer>, Problem> {
    let read = get(&caller, &services, message);
    let found = services.audited(&caller, Action::MessageView, &message.to_string(), read).await?;
    let observations = found.observations.into_iter().map(observation).collect();
    Ok(Json(answer(message, found.message.unwrap_or_default(), observations)))
}

/// The catalogue's row and observations of one message.
pub(super) async fn get(
    caller: &Caller,
    services: &Services,
    message: Digest,
) -> Result<GetMessageResponse, Problem> {
    let request = GetMessageRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        message: message.as_bytes().to_vec().into(),
    };
    let found = services.backends.catalogue.clone().get_message(caller.call(request)).await;
    Ok(found.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
}

fn answer(message: Digest, summary: MessageSummary, observations: Vec<ObservationAnswer>) -> MessageAnswer {
    MessageAnswer {
        id: message.to_string(),
        subject: summary.subject,
        from: summary.from,
        to: summary.to,
        cc: summary.cc,
        date: present(summary.date),
        message_id: present(summary.message_id),
        length: summary.length,
        class: summary.class,
        flags: summary.flags,
        archived_at: summary.archived_at,
        attachments: summary.attachments,
        observations,
    }
}

fn observation(observation: ObservationSummary) -> ObservationAnswer {
    let Envelope { from, to, peer, mode } = observation.envelope.unwrap_or_default();
    ObservationAnswer {
        agent: observation.agent,
        instance: instance_text(&observation.instance),
        agent_epoch: observation.agent_epoch.to_string(),
        seq: observation.seq,
        state: observation.state,
        reason: present(observation.reason),
        envelope: EnvelopeAnswer { from, to, peer, mode },
        occurred_at: observation.occurred_at,
        recorded_at: observation.recorded_at,
        leaf_index: observation.leaf_index,
    }
}
