//! Our errors as gRPC's. What is the caller's fault is told to the caller; what is ours is logged here, once.

use std::error::Error;

use openarchive_domain::ParseError;
use openarchive_rpc::refusal;
use tonic::{Code, Status};

use crate::{
    engine::{CursorError, EngineError, PAGE_HITS_MAX, SearchError},
    query::QueryError,
};

pub(super) fn argument(error: &ParseError) -> Status {
    refusal(Code::InvalidArgument, "ARGUMENT_INVALID", error.to_string())
}

pub(super) fn batch(count: usize, limit: usize) -> Status {
    let message = format!("{count} items in one call, the limit is {limit}: send smaller batches");
    refusal(Code::InvalidArgument, "BATCH_TOO_LARGE", message)
}

pub(super) fn scope() -> Status {
    refusal(Code::InvalidArgument, "SCOPE_MISSING", "every read names its scope: set `all`")
}

pub(super) fn query(error: QueryError) -> Status {
    refusal(Code::InvalidArgument, "QUERY_INVALID", error.to_string())
}

pub(super) fn cursor(error: CursorError) -> Status {
    match error {
        CursorError::Malformed => refusal(Code::InvalidArgument, "CURSOR_INVALID", error.to_string()),
        CursorError::OtherQuery => refusal(Code::InvalidArgument, "CURSOR_OF_OTHER_QUERY", error.to_string()),
        CursorError::IndexRebuilt => refusal(Code::FailedPrecondition, "INDEX_REBUILT", error.to_string()),
    }
}

pub(super) fn search(error: SearchError) -> Status {
    match error {
        SearchError::Cursor(error) => cursor(error),
        SearchError::Limit { .. } => refusal(
            Code::InvalidArgument,
            "LIMIT_INVALID",
            format!("a page has at most {PAGE_HITS_MAX} hits"),
        ),
        SearchError::Engine(error) => engine(&error),
    }
}

pub(super) fn engine(error: &EngineError) -> Status {
    if matches!(error, EngineError::TooBroad) {
        return refusal(Code::InvalidArgument, "QUERY_TOO_BROAD", error.to_string());
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, cause, "an index call fails");
    refusal(Code::Unavailable, "INDEX_UNAVAILABLE", "the index does not answer: try again; its log says why")
}
