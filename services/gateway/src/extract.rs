//! Bodies, queries and paths, with problems instead of the framework's own texts.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use openarchive_domain::Digest;
use serde::de::DeserializeOwned;

use crate::problem::{Kind, Problem};

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(not_json(&rejection)),
        }
    }
}

// serde's words may repeat a value of the body, so only the place is told.
fn not_json(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(Kind::MediaType, "send `Content-Type: application/json`")
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            Kind::TooLarge,
            format!("the body has more than {BODY_BYTES_MAX} bytes: ask for less at once"),
        ),
        JsonRejection::JsonSyntaxError(_) => Problem::invalid("the body is not JSON"),
        _ => Problem::invalid("the body has not the fields that this call takes: see /api/v1/openapi.json"),
    }
}

/// Parameters behind the `?`.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(parameters) = Query::from_request_parts(parts, state).await.map_err(|_| {
            Problem::invalid("the parameters are not those that this call takes: see /api/v1/openapi.json")
        })?;
        Ok(Self(parameters))
    }
}

/// The message that the path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageId(pub(crate) Digest);

impl<S: Send + Sync> FromRequestParts<S> for MessageId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let expected = || Problem::invalid("a message's id is `sha256:` and 64 hex digits");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| expected())?;
        Ok(Self(id.parse().map_err(|_| expected())?))
    }
}

/// The job that the path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobId(pub(crate) i64);

impl<S: Send + Sync> FromRequestParts<S> for JobId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::invalid("a job's id is a whole number"))?;
        Ok(Self(id))
    }
}
