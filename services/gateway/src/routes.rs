//! One file for each thing that can be asked: parse, call, map.

mod agents;
mod audit_list;
mod checkpoint;
mod completeness;
mod content;
mod enrolments;
mod explain;
mod health;
mod jobs;
mod message;
mod proof;
mod search;
mod text;

use std::sync::Arc;

use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use audit_list::{AUDIT_LEAVES_DEFAULT, AUDIT_LEAVES_MAX};
pub(crate) use health::LastHealth;
pub use search::{
    HIGHLIGHT_SOURCE_BYTES_MAX, HIGHLIGHTED_HITS_MAX, HIGHLIGHTS_AT_ONCE_MAX, HIGHLIGHTS_TIME_MAX,
    QUERY_BYTES_MAX,
};
pub use text::{TEXT_SOURCE_BYTES_MAX, TEXT_VIEWS_MAX};

use crate::{gateway::Services, openapi::Document};

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
}

/// proto3 writes "" for what is not there.
fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// 16 bytes as a UUID is written; anything else, which would be the catalogue's fault, as nothing.
fn instance_text(bytes: &[u8]) -> String {
    uuid::Uuid::from_slice(bytes).map(|uuid| uuid.to_string()).unwrap_or_default()
}
