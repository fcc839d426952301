//! One file for each thing that can be asked: parse, call, map.

mod agents;
mod audit_list;
mod checkpoint;
mod completeness;
mod content;
mod enrolments;
mod expiry;
mod explain;
mod health;
mod holds;
mod jobs;
mod message;
mod proof;
mod quarantine;
mod reason;
mod search;
mod shreds;
mod text;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use openarchive_domain::Digest;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use audit_list::{AUDIT_LEAVES_DEFAULT, AUDIT_LEAVES_MAX};
pub use expiry::EXPIRY_PLAN_MESSAGES_MAX;
pub(crate) use health::LastHealth;
pub use holds::HOLD_MESSAGES_MAX;
pub use quarantine::QUARANTINE_LIST_MAX;
pub use reason::REASON_BYTES_MAX;
pub use search::{
    HIGHLIGHT_SOURCE_BYTES_MAX, HIGHLIGHTED_HITS_MAX, HIGHLIGHTS_AT_ONCE_MAX, HIGHLIGHTS_TIME_MAX,
    QUERY_BYTES_MAX,
};
pub use shreds::SHRED_MESSAGES_MAX;
pub use text::{TEXT_SOURCE_BYTES_MAX, TEXT_VIEWS_MAX};

use crate::{extract::LARGE_BODY_BYTES_MAX, gateway::Services, openapi::Document, problem::Problem};

/// Every route with its part of the OpenAPI document.
pub(crate) fn all() -> OpenApiRouter<Arc<Services>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(search::search))
        .routes(routes!(explain::explain))
        .routes(routes!(message::view))
        .routes(routes!(content::read))
        .routes(routes!(text::view))
        .routes(routes!(proof::prove))
        .routes(routes!(completeness::read))
        .routes(routes!(audit_list::list))
        .routes(routes!(agents::list))
        .routes(routes!(enrolments::create))
        .routes(routes!(enrolments::revoke))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::retry))
        .routes(routes!(checkpoint::read))
        .routes(routes!(health::read))
        .routes(routes!(holds::release))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::release))
        .routes(routes!(shreds::order))
        .routes(routes!(shreds::view))
        .routes(routes!(shreds::certificate))
        .routes(routes!(expiry::plan))
        .routes(routes!(expiry::resume))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(holds::set, holds::list))
                .routes(routes!(expiry::run))
                .layer(DefaultBodyLimit::max(LARGE_BODY_BYTES_MAX)),
        )
}

/// proto3 writes "" for what is not there.
fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// 16 bytes as a UUID is written; anything else, which would be the catalogue's fault, as nothing.
fn instance_text(bytes: &[u8]) -> String {
    uuid::Uuid::from_slice(bytes).map(|uuid| uuid.to_string()).unwrap_or_default()
}

/// Ids of mails as a body lists them.
fn digests(ids: &[String]) -> Result<Vec<Digest>, Problem> {
    let digest = |(place, id): (usize, &String)| {
        let expected = |_| Problem::invalid(format!("messages[{place}] must be `sha256:` and 64 hex digits"));
        id.parse().map_err(expected)
    };
    ids.iter().enumerate().map(digest).collect()
}

/// A digest as the catalogue answers it; anything else, which would be the catalogue's fault, as nothing.
fn id_text(bytes: &[u8]) -> String {
    Digest::try_from(bytes).map(|digest| digest.to_string()).unwrap_or_default()
}
