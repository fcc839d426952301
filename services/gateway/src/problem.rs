//! Problem documents (RFC 9457): what a client is told when there is no answer. Never personal data, never a cause
//! from inside.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request_id::RequestId;

pub(crate) const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Problem types are tag URIs (RFC 4151): names, not addresses to fetch.
const TYPE_PREFIX: &str = "tag:openarchive.dev,2026:problem/";

/// How long a client waits before it tries again, in seconds.
const RETRY_AFTER_SECONDS: u16 = 2;

/// The kinds of problem, one type URI each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    /// The cursor belongs to an index that has been rebuilt since.
    CursorExpired,
    /// This request id already names another audit leaf.
    RequestIdUsed,
    /// Several observations match.
    Ambiguous,
    /// What is asked for contradicts what was done to the mail before: a hold, a shred, its retention.
    Conflict {
        slug: &'static str,
        title: &'static str,
    },
    TooLarge,
    MediaType,
    Damaged,
    Internal,
    Unavailable,
}

impl Kind {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid API token is needed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing here"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This path does not take this method")
            }
            Self::CursorExpired => (StatusCode::CONFLICT, "cursor-expired", "The index was rebuilt since"),
            Self::RequestIdUsed => {
                (StatusCode::CONFLICT, "request-id-used", "The request id was used before")
            }
            Self::Ambiguous => (StatusCode::CONFLICT, "ambiguous", "Several observations match"),
            Self::Conflict { slug, title } => (StatusCode::CONFLICT, slug, title),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::Damaged => (StatusCode::INTERNAL_SERVER_ERROR, "damaged", "The archive found damage"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The archive failed"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The archive cannot answer now")
            }
        }
    }
}

/// What goes wrong, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, detail)
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole answer.
    pub(crate) fn render(&self, request: &RequestId) -> Response {
        let (status, slug, title) = self.kind.parts();
        let document = ProblemDocument {
            kind: format!("{TYPE_PREFIX}{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone().into_owned(),
            request_id: request.as_str().to_owned(),
        };
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
        response
    }
}

/// Carries the problem out to where the request id is known; that layer renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.parts().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem as it stands in an answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// A tag URI that names the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// What is wrong and what to do about it. No personal data.
    detail: String,
    /// Also in the header X-Request-Id, and in the archive's own logs.
    request_id: String,
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_rendered_with_its_type_its_request_and_what_a_client_needs_to_go_on() {
        let render = async |problem: Problem| {
            let response = problem.render(&RequestId::accept("r-1").unwrap());
            let (parts, body) = response.into_parts();
            assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
            let body: serde_json::Value =
                serde_json::from_slice(&to_bytes(body, 4096).await.unwrap()).unwrap();
            assert_eq!(body["status"], parts.status.as_u16());
            (parts, body)
        };
        let (parts, body) = render(Problem::unavailable("try again")).await;
        assert_eq!(parts.headers[header::RETRY_AFTER], "2");
        assert_eq!(body["type"], "tag:openarchive.dev,2026:problem/unavailable");
        assert_eq!((&body["detail"], &body["request_id"]), (&"try again".into(), &"r-1".into()));
        let (parts, _) = render(Problem::new(Kind::Unauthorized, "no")).await;
        assert_eq!(parts.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
}
