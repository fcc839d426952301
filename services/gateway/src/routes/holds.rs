use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{Json, extract::State};
use openarchive_domain::{Digest, random};
use openarchive_proto::{
    index::v1::{IndexStatusRequest, SearchRequest},
    ingest::v1::{HoldSummary, ListHoldsRequest, ReleaseHoldRequest, SetHoldRequest},
    worker::v1::ListJobsRequest,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{digests, present, reason::check_reason, search::check_query};
use crate::{
    audit::Action,
    backends::{call, everything},
    caller::Caller,
    extract::{HoldName, JsonBody, LargeJsonBody, Parameters},
    gateway::Services,
    problem::Problem,
    refusal::Service,
};

/// Mails of one hold, at most; the catalogue has the same limit.
pub const HOLD_MESSAGES_MAX: usize = 100_000;
/// Hits of a query that are taken at once.
const HITS_TOGETHER_MAX: u32 = 1_000;
/// Longest wait for a hold to be set: its list is stored before its leaf.
const HOLD_TIME_MAX: Duration = Duration::from_secs(40);
/// Longest wait for the index to have the mail that the archive has.
const INDEX_TIME_MAX: Duration = Duration::from_secs(10);
const INDEX_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Jobs that are listed at once: what the worker lists at most.
const JOBS_TOGETHER_MAX: u32 = 1_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldWanted {
    /// 1 to 63 of a-z, 0-9 and -, never used twice; made up if absent. It stands in the ledger: no personal data.
    hold: Option<String>,
    /// Why, for people; at most 2,000 bytes.
    reason: String,
    /// Holds what this query finds now, at most 100,000 mails. Either this or messages.
    #[schema(example = "participant:alice@example.org after:2024-01-01")]
    query: Option<String>,
    /// Ids of mails, 1 to 100,000.
    messages: Option<Vec<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldAnswer {
    hold: String,
    /// How many mails it keeps. The list is frozen: what comes later and would match is not under it.
    messages: u64,
    /// Of the hold's leaf in the tenant's evidence log.
    leaf_index: u64,
    /// The query as it was understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_query: Option<String>,
    /// Mails of the tenant that no query finds, because they could not be indexed (dead jobs); counted up to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    unindexed: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Only holds that this mail is under: `sha256:` and 64 hex digits.
    message: Option<String>,
    /// Released ones, too.
    #[serde(default)]
    released: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldsAnswer {
    /// Oldest first.
    holds: Vec<HoldEntry>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldEntry {
    hold: String,
    reason: String,
    /// What its mails were found by; absent if they were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    messages: u64,
    created_at: String,
    /// Id of a token.
    created_by: String,
    /// Absent while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    released_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    released_by: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldReleaseWanted {
    /// Why, for people; at most 2,000 bytes.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldReleaseAnswer {
    hold: String,
    /// Of the release's leaf in the tenant's evidence log.
    leaf_index: u64,
}

/// What a hold keeps.
enum Kept {
    Found(String),
    Named(Vec<Digest>),
}

impl HoldWanted {
    fn check(self) -> Result<(HoldName, String, Kept), Problem> {
        // Made up, so that it says nothing.
        let made_up = || format!("hold-{:016x}", u64::from_be_bytes(random::bytes()));
        let hold = HoldName::parse(self.hold.unwrap_or_else(made_up))?;
        check_reason(&self.reason)?;
        let kept = match (self.query, self.messages) {
            (Some(query), None) => {
                check_query(&query)?;
                Kept::Found(query)
            }
            (None, Some(ids)) if ids.is_empty() || ids.len() > HOLD_MESSAGES_MAX => {
                return Err(Problem::invalid(format!("messages must be 1 to {HOLD_MESSAGES_MAX} mails")));
            }
            (None, Some(ids)) => Kept::Named(digests(&ids)?),
            _ => return Err(Problem::invalid("give either query or messages")),
        };
        Ok((hold, self.reason, kept))
    }
}

impl Kept {
    /// What the audit record says of it.
    fn object(&self) -> String {
        match self {
            Self::Found(query) => format!("query {query}"),
            Self::Named(messages) => {
                let list: Vec<u8> = messages.iter().flat_map(|message| *message.as_bytes()).collect();
                format!("{} mails, SHA-256 of their digests {}", messages.len(), Digest::of(&list))
            }
        }
    }
}

/// Keep mail, whatever its retention class says and whoever wants it shredded, until the hold is released. A hold by
/// query keeps what the query finds at this moment.
#[utoipa::path(
    post,
    path = "/api/v1/holds/",
    operation_id = "setHold",
    tag = "governance",
    request_body = HoldWanted,
    responses(
        (status = 200, description = "The mail is held; the hold's leaf is durable.", body = HoldAnswer),
        (status = 404, description = "The query finds nothing, or a mail of the list is not there.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set(
    caller: Caller,
    State(services): State<Arc<Services>>,
    LargeJsonBody(wanted): LargeJsonBody<HoldWanted>,
) -> Result<Json<HoldAnswer>, Problem> {
    let (HoldName(hold), reason, kept) = wanted.check()?;
    let object = format!("{hold}: {reason}; {}", kept.object());
    let act = async {
        let (query, messages, canonical_query, unindexed) = match kept {
            Kept::Named(messages) => (String::new(), messages.into_iter().collect(), None, None),
            Kept::Found(query) => {
                let unindexed = await_index(&caller, &services).await?;
                let (messages, canonical) = found(&caller, &services, &query).await?;
                (query, messages, Some(canonical), Some(unindexed))
            }
        };
        let count = messages.len() as u64;
        let request = SetHoldRequest {
            tenant: caller.tenant.to_string(),
            hold: hold.clone(),
            reason,
            query,
            messages: messages.iter().map(|message| message.as_bytes().to_vec().into()).collect(),
            actor: caller.token_id.clone(),
        };
        drop(messages);
        let request = call(request, &caller.request, HOLD_TIME_MAX);
        let answer = services.backends.catalogue.clone().set_hold(request).await;
        let answer = answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner();
        Ok(HoldAnswer { hold, messages: count, leaf_index: answer.leaf_index, canonical_query, unindexed })
    };
    services.audited_before(&caller, Action::HoldSet, &object, act).await.map(Json)
}

/// Returns when the index has all mail that the archive had at the call: what a query does not find, its hold does not
/// keep. Answers how many mails could not be indexed at all.
async fn await_index(caller: &Caller, services: &Services) -> Result<u64, Problem> {
    let status = services.backends.index.clone().index_status(caller.call(IndexStatusRequest {})).await;
    let status = status.map_err(|status| Service::Index.refused(&status))?.into_inner();
    let incomplete = || {
        Problem::unavailable(
            "the index does not have all mail of the archive yet, so the query would not find all of it: ask again \
             later, or name the mails",
        )
    };
    if !status.filled {
        return Err(incomplete());
    }
    let waiting = async || {
        let mut jobs = index_jobs(caller, services, "ready").await?;
        jobs.extend(index_jobs(caller, services, "running").await?);
        Ok::<_, Problem>(jobs)
    };
    let deadline = Instant::now() + INDEX_TIME_MAX;
    let newest = waiting().await?.into_iter().max();
    // Jobs of mail that came since do not matter; a full page may hide older ones.
    while let Some(newest) = newest {
        let jobs = waiting().await?;
        if jobs.len() < JOBS_TOGETHER_MAX as usize && jobs.iter().all(|job| *job > newest) {
            break;
        }
        if Instant::now() > deadline {
            return Err(incomplete());
        }
        tokio::time::sleep(INDEX_LOOK_INTERVAL).await;
    }
    Ok(index_jobs(caller, services, "dead").await?.len() as u64)
}

/// Numbers of the tenant's jobs of the index in a state, the newest [`JOBS_TOGETHER_MAX`].
async fn index_jobs(caller: &Caller, services: &Services, state: &str) -> Result<Vec<i64>, Problem> {
    let (tenant, state) = (caller.tenant.to_string(), state.to_owned());
    let request = ListJobsRequest { tenant, state, limit: JOBS_TOGETHER_MAX };
    let answer = services.backends.worker.clone().list_jobs(caller.call(request)).await;
    let jobs = answer.map_err(|status| Service::Worker.refused(&status))?.into_inner().jobs;
    Ok(jobs.into_iter().filter(|job| job.kind == "index").map(|job| job.job_id).collect())
}

/// Every hit of a query, and the query as it was understood. All pages are of one state of the index.
async fn found(
    caller: &Caller,
    services: &Services,
    query: &str,
) -> Result<(BTreeSet<Digest>, String), Problem> {
    let (mut messages, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let request = SearchRequest {
            scope: Some(everything()),
            tenant: caller.tenant.to_string(),
            query: query.to_owned(),
            cursor,
            limit: HITS_TOGETHER_MAX,
        };
        let page = services.backends.index.clone().search(caller.call(request)).await;
        let page = page.map_err(|status| Service::Index.refused(&status))?.into_inner();
        check_found(page.total)?;
        for hit in &page.hits {
            messages.insert(super::search::id_of(hit)?);
        }
        if page.next_cursor.is_empty() || page.hits.is_empty() {
            if messages.len() as u64 != page.total {
                return Err(Problem::unavailable("the index changed while it was read: ask again"));
            }
            return Ok((messages, page.canonical_query));
        }
        cursor = page.next_cursor;
    }
}

fn check_found(total: u64) -> Result<(), Problem> {
    if total == 0 {
        return Err(Problem::not_found("the query finds no mail, so nothing is held"));
    }
    if total > HOLD_MESSAGES_MAX as u64 {
        return Err(Problem::invalid(format!(
            "the query finds {total} mails and a hold keeps at most {HOLD_MESSAGES_MAX}: set several holds by narrower \
             queries"
        )));
    }
    Ok(())
}

/// List holds.
#[utoipa::path(
    get,
    path = "/api/v1/holds/",
    operation_id = "listHolds",
    tag = "governance",
    params(Asked),
    responses((status = 200, description = "Holds of the tenant.", body = HoldsAnswer)),
)]
pub(crate) async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<HoldsAnswer>, Problem> {
    let message = asked.message.map(|id| id.parse::<Digest>()).transpose();
    let message = message.map_err(|_| Problem::invalid("message must be `sha256:` and 64 hex digits"))?;
    let of = message.map_or_else(|| "all".to_owned(), |message| message.to_string());
    let object = format!("message={of} released={}", asked.released);
    let read = async {
        let request = ListHoldsRequest {
            tenant: caller.tenant.to_string(),
            message: message.map(|message| message.as_bytes().to_vec()).unwrap_or_default().into(),
            released: asked.released,
        };
        let answer = services.backends.catalogue.clone().list_holds(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
    };
    let listed = services.audited(&caller, Action::HoldsList, &object, read).await?;
    Ok(Json(HoldsAnswer { holds: listed.holds.into_iter().map(entry).collect() }))
}

/// Release a hold. Mail that is under no other one is kept as its class says, and may be shredded.
#[utoipa::path(
    post,
    path = "/api/v1/holds/{hold}/release",
    operation_id = "releaseHold",
    tag = "governance",
    params(("hold" = String, Path, description = "The hold's name.")),
    request_body = HoldReleaseWanted,
    responses(
        (status = 200, description = "The hold is released; the leaf that says so is durable.", body = HoldReleaseAnswer),
        (status = 404, description = "No such hold.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn release(
    caller: Caller,
    HoldName(hold): HoldName,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<HoldReleaseWanted>,
) -> Result<Json<HoldReleaseAnswer>, Problem> {
    check_reason(&wanted.reason)?;
    let act = async {
        let request = ReleaseHoldRequest {
            tenant: caller.tenant.to_string(),
            hold: hold.clone(),
            actor: caller.token_id.clone(),
        };
        let answer = services.backends.catalogue.clone().release_hold(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().leaf_index)
    };
    let object = format!("{hold}: {}", wanted.reason);
    let leaf_index = services.audited_before(&caller, Action::HoldRelease, &object, act).await?;
    Ok(Json(HoldReleaseAnswer { hold, leaf_index }))
}

fn entry(hold: HoldSummary) -> HoldEntry {
    HoldEntry {
        hold: hold.hold,
        reason: hold.reason,
        query: present(hold.query),
        messages: hold.messages,
        created_at: hold.created_at,
        created_by: hold.created_by,
        released_at: present(hold.released_at),
        released_by: present(hold.released_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;

    #[test]
    fn a_hold_has_a_reason_and_either_a_query_or_a_list_and_a_name_of_its_own() {
        let id = Digest::of(b"1").to_string();
        let wanted = |hold: Option<&str>, reason: &str, query: Option<&str>, messages: Option<usize>| {
            let wanted = HoldWanted {
                hold: hold.map(str::to_owned),
                reason: reason.to_owned(),
                query: query.map(str::to_owned),
                messages: messages.map(|count| vec![id.clone(); count]),
            };
            wanted.check().map(|(HoldName(name), ..)| name).map_err(|problem| problem.kind())
        };
        assert_eq!(wanted(Some("case-1"), "x", Some("*"), None), Ok("case-1".to_owned()));
        assert_eq!(wanted(Some("case-1"), "x", None, Some(HOLD_MESSAGES_MAX)), Ok("case-1".to_owned()));
        let (one, other) = (wanted(None, "x", None, Some(1)), wanted(None, "x", None, Some(1)));
        assert!(one.as_ref().is_ok_and(|name| name.starts_with("hold-")) && one != other, "{one:?}");
        for bad in [
            wanted(Some("Case 1"), "x", Some("*"), None),
            wanted(Some(""), "x", Some("*"), None),
            wanted(None, " ", Some("*"), None),
            wanted(None, "x", None, None),
            wanted(None, "x", Some("*"), Some(1)),
            wanted(None, "x", None, Some(0)),
            wanted(None, "x", None, Some(HOLD_MESSAGES_MAX + 1)),
        ] {
            assert_eq!(bad, Err(Kind::Invalid));
        }
    }

    #[test]
    fn a_query_must_find_mail_and_no_more_than_a_hold_keeps() {
        let kind = |total| check_found(total).map_err(|problem| problem.kind());
        assert_eq!((kind(0), kind(1)), (Err(Kind::NotFound), Ok(())));
        assert_eq!(kind(HOLD_MESSAGES_MAX as u64), Ok(()));
        assert_eq!(kind(HOLD_MESSAGES_MAX as u64 + 1), Err(Kind::Invalid));
    }

    #[test]
    fn the_longest_list_fits_into_a_body() {
        // `"sha256:…",` for each, and room for the longest reason with every byte escaped.
        let ids = HOLD_MESSAGES_MAX * (Digest::of(b"").to_string().len() + 3);
        assert!(ids + 6 * super::super::reason::REASON_BYTES_MAX < crate::extract::LARGE_BODY_BYTES_MAX);
    }
}
