//! Bodies, queries and paths, with problems instead of the framework's own texts.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use openarchive_domain::{Digest, Tenant};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    gateway::Services,
    problem::{Kind, Problem},
};

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest body of a request that names many mails (a hold, a plan of expiry), in bytes.
pub const LARGE_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most such bodies that are read at a time; further ones wait. Bounds memory.
pub const LARGE_BODIES_AT_ONCE_MAX: usize = 2;

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

/// A JSON body of a route whose limit is [`LARGE_BODY_BYTES_MAX`].
pub(crate) struct LargeJsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Services>> for LargeJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, services: &Arc<Services>) -> Result<Self, Problem> {
        let permit = services.large_bodies.acquire().await;
        let _permit = permit.map_err(|_| Problem::unavailable("the archive is being stopped: try again"))?;
        let JsonBody(body) = JsonBody::from_request(request, services).await?;
        Ok(Self(body))
    }
}

// serde's words may repeat a value of the body, so only the place is told.
fn not_json(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(Kind::MediaType, "send `Content-Type: application/json`")
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::TooLarge, "the body has more bytes than this call takes: ask for less at once")
        }
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

/// The hold that the path names.
#[derive(Debug, Clone)]
pub(crate) struct HoldName(pub(crate) String);

impl HoldName {
    /// A name is a DNS label, like a tenant's.
    pub(crate) fn parse(name: String) -> Result<Self, Problem> {
        match name.parse::<Tenant>() {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(Problem::invalid("a hold's name is 1 to 63 of a-z, 0-9 and -")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HoldName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        Self::parse(name.map(|Path(name)| name).unwrap_or_default())
    }
}

/// The order that the path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShredId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for ShredId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<Uuid>::from_request_parts(parts, state).await;
        Ok(Self(id.map_err(|_| Problem::invalid("an order's id is a UUID"))?.0))
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
