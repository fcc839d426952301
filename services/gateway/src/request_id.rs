//! The outermost layer: every request has an id, every answer carries it, every problem is rendered here.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use openarchive_domain::{Clock, Timestamp, random};
use openarchive_telemetry::HttpCall;
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::problem::Problem;

pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a client, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Longest time until an answer begins; streamed content may take longer.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// Names one request: letters, digits and hyphens. Stands in audit leaves, so it must not be personal data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The client's own, if it has the form of one.
    pub(crate) fn accept(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// A version 7 UUID (RFC 9562).
    pub(crate) fn fresh(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = now.as_millis().max(0).cast_unsigned();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid().to_string())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Repeated headers count as none: it is not clear which one the client will look for.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(REQUEST_ID_HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::accept(value.to_str().ok()?),
            _ => None,
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives the request its id, bounds its time, renders its problem, and marks the answer as nobody's to keep or guess.
pub(crate) async fn with_request_id(
    State(clock): State<Arc<dyn Clock>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id =
        RequestId::of(request.headers()).unwrap_or_else(|| RequestId::fresh(clock.now(), &random::bytes()));
    request.extensions_mut().insert(id.clone());
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let call = HttpCall::begin(request.method(), route, request.headers(), id.as_str());
    let answer = timeout(REQUEST_TIME_MAX, next.run(request).instrument(call.span())).await;
    let mut response = match answer {
        Ok(mut response) => match response.extensions_mut().remove::<Problem>() {
            Some(problem) => problem.render(&id),
            None => response,
        },
        Err(_) => Problem::unavailable("the answer took too long: try again").render(&id),
    };
    call.end(response.status());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    response
}

/// The id that [`with_request_id`] gave; a request that did not pass it has the nil UUID.
pub(crate) fn of_extensions(extensions: &axum::http::Extensions) -> RequestId {
    extensions.get().cloned().unwrap_or_else(|| RequestId(Uuid::nil().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_taken_if_it_is_short_and_plain() {
        for good in ["a", "0195f1e2-7b7c-7000-8000-000000000000", &"x".repeat(REQUEST_ID_BYTES_MAX)] {
            assert_eq!(RequestId::accept(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a@b", "a.b", "ä", "a\n", &"x".repeat(REQUEST_ID_BYTES_MAX + 1)] {
            assert_eq!(RequestId::accept(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.append(REQUEST_ID_HEADER, HeaderValue::from_static("one"));
        assert_eq!(RequestId::of(&headers).unwrap().as_str(), "one");
        headers.append(REQUEST_ID_HEADER, HeaderValue::from_static("two"));
        assert_eq!(RequestId::of(&headers), None);
    }

    #[test]
    fn an_own_id_is_a_uuid_of_version_7_that_the_clients_rule_accepts() {
        let id = RequestId::fresh(Timestamp::from_millis(1_700_000_000_123), &[0xff; 10]);
        assert_eq!(id.as_str(), "018bcfe5-687b-7fff-bfff-ffffffffffff");
        assert_eq!(RequestId::accept(id.as_str()), Some(id));
    }
}
