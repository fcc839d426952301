mod highlights;

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use openarchive_domain::{Digest, Timestamp};
use openarchive_proto::{
    index::v1::{Hit, SearchRequest},
    ingest::v1::{GetMessagesRequest, MessageSummary},
};
use serde::{Deserialize, Serialize};
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
use highlights::Highlights;
pub use highlights::{
    HIGHLIGHT_SOURCE_BYTES_MAX, HIGHLIGHTED_HITS_MAX, HIGHLIGHTS_AT_ONCE_MAX, HIGHLIGHTS_TIME_MAX,
};

/// Longest query, in bytes; the index has the same limit.
pub const QUERY_BYTES_MAX: usize = 4096;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words, phrases, words near each other, fields, dates, sizes, AND OR NOT; `*` finds every mail (docs/query.md).
    /// At most 4,096 bytes.
    #[schema(example = "from:alice subject:\"annual report\" size:>1mb has:attachment")]
    query: String,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Most results of this page: 1 to 1,000, 50 if absent.
    #[serde(default)]
    limit: Option<u32>,
    /// Open each found mail and show where the query's words stand in its text; then limit is at most 50.
    #[serde(default)]
    highlight: bool,
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
    /// Where the query's words stand in its text; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    highlights: Option<Highlights>,
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
    check_query(&body.query)?;
    if body.limit == Some(0) {
        return Err(Problem::invalid("limit must be from 1 to 1000"));
    }
    if body.highlight && body.limit.is_some_and(|limit| limit > HIGHLIGHTED_HITS_MAX) {
        return Err(Problem::invalid("with highlights limit must be from 1 to 50"));
    }
    let object = body.query.clone();
    // The leaf says whether pieces of mail were shown.
    let action = if body.highlight { Action::SearchHighlight } else { Action::Search };
    let read = find(&caller, &services, body);
    services.audited(&caller, action, &object, read).await.map(Json)
}

/// What the gateway itself asks of a query: the rest is said by the index.
pub(super) fn check_query(query: &str) -> Result<(), Problem> {
    if query.len() > QUERY_BYTES_MAX {
        let detail = format!("the query has {} bytes: at most {QUERY_BYTES_MAX} are allowed", query.len());
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    if query.contains('\0') {
        return Err(Problem::invalid("the query holds a NUL character: remove it"));
    }
    Ok(())
}

async fn find(caller: &Caller, services: &Services, body: SearchBody) -> Result<SearchAnswer, Problem> {
    let request = SearchRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        query: body.query.clone(),
        cursor: body.cursor.unwrap_or_default(),
        limit: body.limit.unwrap_or_default(),
    };
    let found = services.backends.index.clone().search(caller.call(request)).await;
    let found = found.map_err(|status| Service::Index.refused(&status))?.into_inner();
    let ids: Vec<Digest> = found.hits.iter().map(id_of).collect::<Result<_, _>>()?;
    let highlights = async {
        if !body.highlight {
            return Vec::new();
        }
        highlights::of_hits(caller, services, &body.query, &ids).await
    };
    let (rows, highlights) = tokio::join!(rows_of(caller, services, &found.hits), highlights);
    let (mut rows, mut highlights) = (rows?, highlights.into_iter());
    let hits = ids.iter().zip(&found.hits);
    let results = hits.map(|(id, hit)| result(*id, hit, rows.remove(id), highlights.next())).collect();
    Ok(SearchAnswer {
        total: found.total,
        canonical_query: found.canonical_query,
        results,
        next_cursor: present(found.next_cursor),
    })
}

pub(super) fn id_of(hit: &Hit) -> Result<Digest, Problem> {
    Digest::try_from(&hit.message[..]).map_err(|error| {
        tracing::error!(%error, "the index answers with what is no message's digest");
        Problem::new(Kind::Internal, "the index failed: its log says why")
    })
}

/// The catalogue's rows of the hits, in one call unless they are very large. A hit that the catalogue does not know has
/// none and stays in its place, so that no page is short and no count wrong.
async fn rows_of(
    caller: &Caller,
    services: &Services,
    hits: &[Hit],
) -> Result<BTreeMap<Digest, MessageSummary>, Problem> {
    let mut rows = BTreeMap::new();
    let mut wanted: Vec<_> = hits.iter().map(|hit| hit.message.clone()).collect();
    while !wanted.is_empty() {
        let request = GetMessagesRequest {
            scope: Some(everything()),
            tenant: caller.tenant.to_string(),
            messages: wanted.clone(),
        };
        let answer = services.backends.catalogue.clone().get_messages(caller.call(request)).await;
        let answer = answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner();
        for row in answer.messages {
            rows.extend(Digest::try_from(&row.message[..]).ok().map(|id| (id, row)));
        }
        // Never none, or this would not end.
        let answered = (answer.answered as usize).clamp(1, wanted.len());
        wanted.drain(..answered);
    }
    Ok(rows)
}

fn result(
    id: Digest,
    hit: &Hit,
    summary: Option<MessageSummary>,
    highlights: Option<Highlights>,
) -> SearchResult {
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
        highlights,
    }
}
