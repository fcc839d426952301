//! The one type of channel that every generated client uses.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use openarchive_domain::{Clock as _, SystemClock, Timestamp, random};
use openarchive_telemetry::{REQUEST_ID_HEADER, propagation};
use tonic::{
    body::Body,
    codegen::{Service, StdError},
    transport::Channel,
};
use tower::ServiceExt as _;

use crate::connect::Balanced;

/// Longest that a call waits for its answer to begin where its caller names no deadline, in seconds. Long enough for the
/// upload of the largest part over a slow line.
pub const CALL_SECONDS_MAX: u64 = 600;

/// How long a call may take (gRPC over HTTP/2, "Timeout").
const DEADLINE_HEADER: &str = "grpc-timeout";

/// A connection to one service, wherever it is. Cheap to clone. Gives each call the trace and the request id of the span
/// that it is made in, and, if its caller named none, a deadline ([`CALL_SECONDS_MAX`]).
#[derive(Clone)]
pub struct RpcChannel(Wire);

#[derive(Clone)]
enum Wire {
    Single(Channel),
    Balanced(Balanced),
}

impl fmt::Debug for RpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpcChannel(..)")
    }
}

impl From<Channel> for RpcChannel {
    fn from(channel: Channel) -> Self {
        Self(Wire::Single(channel))
    }
}

impl From<Balanced> for RpcChannel {
    fn from(balanced: Balanced) -> Self {
        Self(Wire::Balanced(balanced))
    }
}

impl Service<Request<Body>> for RpcChannel {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, StdError>> + Send>>;

    /// Always: each call waits for its own turn.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        complete(request.headers_mut(), SystemClock.now());
        match &self.0 {
            Wire::Single(channel) => {
                let channel = channel.clone();
                Box::pin(async move { Ok(channel.oneshot(request).await?) })
            }
            Wire::Balanced(balanced) => {
                let answer = balanced.clone().call(request);
                Box::pin(async move { Ok(answer.await?) })
            }
        }
    }
}

/// What every call carries.
fn complete(headers: &mut HeaderMap, now: Timestamp) {
    propagation::inject(headers);
    if !headers.contains_key(REQUEST_ID_HEADER)
        && let Ok(id) = HeaderValue::try_from(fresh_id(now, &random::bytes()))
    {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    if !headers.contains_key(DEADLINE_HEADER)
        && let Ok(deadline) = HeaderValue::try_from(format!("{CALL_SECONDS_MAX}S"))
    {
        headers.insert(DEADLINE_HEADER, deadline);
    }
}

/// A version 7 UUID (RFC 9562).
fn fresh_id(now: Timestamp, random: &[u8; 10]) -> String {
    let millis = now.as_millis().max(0).cast_unsigned();
    uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gets_a_request_id_and_a_deadline_only_where_it_has_none() {
        let now = SystemClock.now();
        let mut headers = HeaderMap::new();
        complete(&mut headers, now);
        let first = headers.remove(REQUEST_ID_HEADER).unwrap();
        assert_eq!(uuid::Uuid::try_parse_ascii(first.as_bytes()).unwrap().get_version_num(), 7);
        assert_eq!(headers[DEADLINE_HEADER], "600S");
        complete(&mut headers, now);
        assert_ne!(headers[REQUEST_ID_HEADER], first);

        headers.insert(REQUEST_ID_HEADER, HeaderValue::from_static("mine"));
        headers.insert(DEADLINE_HEADER, HeaderValue::from_static("3S"));
        complete(&mut headers, now);
        assert_eq!(headers[REQUEST_ID_HEADER], "mine");
        assert_eq!(headers[DEADLINE_HEADER], "3S");
    }
}
