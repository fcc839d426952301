use std::sync::Arc;

use axum::{Json, extract::State};
use futures::{StreamExt as _, TryStreamExt as _};
use openarchive_domain::{Digest, Timestamp};
use openarchive_proto::{
    index::v1::{Hit, SearchRequest},
    ingest::v1::{GetMessageRequest, MessageSummary},
};
use serde::{Deserialize, Serialize};
use tonic::Code;
use utoipa::ToSchema;

use super::present;
use crate::{
    audit::Action,
    backends::everything,
    caller::Caller,
    extract::JsonBody,
    gateway::Services,
    problem::{Kind, Problem},
    refusal::Service,
};

/// Longest query, in bytes; the index has the same limit.
pub const QUERY_BYTES_MAX: usize = 4096;
/// Catalogue look-ups of one page at the same time.
pub const HIT_LOOKUPS_MAX: usize = 16;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words, phrases, fields, dates, AND OR NOT; `*` finds every mail. At most 4,096 bytes.
    #[schema(example = "from:alice subject:\"annual report\" has:attachment")]
    query: String,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Most results of this page: 1 to 1,000, 50 if absent.
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchAnswer {
    /// Exact number of hits on all pages.
    total: u64,
    /// The query as it was understood.
    canonical_query: String,
    /// Newest first.
    results: Vec<SearchResult>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A found mail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResult {
    #[schema(example = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    id: String,
    subject: String,
    from: String,
    to: Vec<String>,
    /// Of the Date header, RFC 3339; null when absent or unreadable.
    date: Option<String>,
    /// In bytes.
    length: u64,
    /// What is unusual about its bytes.
    flags: Vec<String>,
    /// Some of its text is not searchable.
    partly_indexed: bool,
    /// RFC 3339; null if the catalogue does not have what the index found.
    archived_at: Option<String>,
}

/// Find mail. Exact counts, stable paging.
#[utoipa::path(
    post,
    path = "/api/v1/search/emails/",
    operation_id = "searchEmails",
    tag = "mail",
    request_body = SearchBody,
    responses((status = 200, description = "A page of hits.", body = SearchAnswer)),
)]
pub(crate) async fn search(
    caller: Caller,
    State(services): State<Arc<Services>>,
    JsonBody(body): JsonBody<SearchBody>,
) -> Result<Json<SearchAnswer>, Problem> {
    if body.query.len() > QUERY_BYTES_MAX {
        let detail =
            format!("the query has {} bytes: at most {QUERY_BYTES_MAX} are allowed", body.query.len());
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    if body.query.contains('\0') {
        return Err(Problem::invalid("the query holds a NUL character: remove it"));
    }
    if body.limit == Some(0) {
        return Err(Problem::invalid("limit must be from 1 to 1000"));
    }
    let object = body.query.clone();
    let read = find(&caller, &services, body);
    services.audited(&caller, Action::Search, &object, read).await.map(Json)
}

async fn find(caller: &Caller, services: &Services, body: SearchBody) -> Result<SearchAnswer, Problem> {
    let request = SearchRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        query: body.query,
        cursor: body.cursor.unwrap_or_default(),
        limit: body.limit.unwrap_or_default(),
    };
    let found = services.backends.index.clone().search(caller.call(request)).await;
    let found = found.map_err(|status| Service::Index.refused(&status))?.into_inner();
    let results = futures::stream::iter(found.hits)
        .map(|hit| describe(caller, services, hit))
        .buffered(HIT_LOOKUPS_MAX)
        .try_collect()
        .await?;
    Ok(SearchAnswer {
        total: found.total,
        canonical_query: found.canonical_query,
        results,
        next_cursor: present(found.next_cursor),
    })
}

/// A hit that the catalogue does not know stays in its place, so that no page is short and no count wrong.
async fn describe(caller: &Caller, services: &Services, hit: Hit) -> Result<SearchResult, Problem> {
    let request = GetMessageRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        message: hit.message.clone(),
    };
    let answer = services.backends.catalogue.clone().get_message(caller.call(request)).await;
    let summary = match answer {
        Ok(answer) => answer.into_inner().message,
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(Service::Catalogue.refused(&status)),
    };
    let id = Digest::try_from(&hit.message[..]).map_err(|error| {
        tracing::error!(%error, "the index answers with what is no message's digest");
        Problem::new(Kind::Internal, "the index failed: its log says why")
    })?;
    Ok(result(id, &hit, summary))
}

fn result(id: Digest, hit: &Hit, summary: Option<MessageSummary>) -> SearchResult {
    let known = summary.is_some();
    let summary = summary.unwrap_or_default();
    let indexed_date =
        || (!known && hit.date_millis != 0).then(|| Timestamp::from_millis(hit.date_millis).to_string());
    SearchResult {
        id: id.to_string(),
        subject: summary.subject,
        from: summary.from,
        to: summary.to,
        date: present(summary.date).or_else(indexed_date),
        length: summary.length,
        flags: summary.flags,
        partly_indexed: hit.partly_indexed,
        archived_at: present(summary.archived_at),
    }
}
