//! One span and one count for each gRPC call that a server takes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use openarchive_topology::method_at;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, debug};

use crate::{metrics, propagation, request_id, span::grpc_span};

/// How the status codes of gRPC are called, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The outermost layer of a gRPC server: each call is a span under its caller's, named by its method, and is counted by
/// method and status when its answer has ended. Nothing of what is said gets into either.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceServer;

impl<S> Layer<S> for TraceServer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner }
    }
}

/// A server behind [`TraceServer`].
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Traced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, role) = name(request.uri().path());
        let request_id = request_id::of(request.headers());
        let span = grpc_span(method, role, &request_id, propagation::extract(request.headers()));
        let mut call = Call { span, method, started: Instant::now(), code: None };
        let answer = call.span.in_scope(|| self.inner.call(request)).instrument(call.span.clone());
        Box::pin(async move {
            let response = answer.await.inspect_err(|_| call.end("UNKNOWN"))?;
            // An answer without a body has its status among the headers.
            call.code = code(response.headers());
            Ok(response.map(|inner| TracedBody { inner, call }))
        })
    }
}

/// The method as the table has it, and who serves it. What is not in the table comes from nobody that we know: its path
/// is not taken, so that it can neither be personal nor fill the metrics.
fn name(path: &str) -> (&'static str, &'static str) {
    method_at(path).map_or(("unknown", "unknown"), |method| {
        (method.path.strip_prefix('/').unwrap_or(method.path), method.server.name())
    })
}

fn code(headers: &HeaderMap) -> Option<&'static str> {
    let number: usize = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(CODES.get(number).copied().unwrap_or("UNKNOWN"))
}

/// A call until its answer has ended, or was given up.
#[derive(Debug)]
struct Call {
    span: Span,
    method: &'static str,
    started: Instant,
    code: Option<&'static str>,
}

impl Call {
    fn end(&mut self, code: &'static str) {
        if self.method.is_empty() {
            return;
        }
        let method = std::mem::take(&mut self.method);
        let duration = self.started.elapsed();
        metrics::GRPC_CALLS.inc([method, code]);
        metrics::GRPC_CALL_SECONDS.observe([method], duration.as_secs_f64());
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.span.record("code", code).record("duration_ms", duration_ms);
        // What the server is to blame for; refusals are an answer.
        if matches!(
            code,
            "UNKNOWN" | "DEADLINE_EXCEEDED" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS"
        ) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| debug!(method, code, duration_ms, "a call is answered"));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(self.code.unwrap_or("CANCELLED"));
    }
}

/// The answer's body; its trailers tell how the call ended.
#[derive(Debug)]
pub struct TracedBody<B> {
    inner: B,
    call: Call,
}

impl<B: Body + Unpin> Body for TracedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let inside = this.call.span.enter();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        drop(inside);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.call.end(code(trailers).unwrap_or("UNKNOWN"));
                }
            }
            Some(Err(_)) => this.call.end("UNKNOWN"),
            None => this.call.end(this.call.code.unwrap_or("UNKNOWN")),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_of_the_table_has_its_name_and_server_and_any_other_none() {
        assert_eq!(
            name("/openarchive.trust.v1.TrustService/Append"),
            ("openarchive.trust.v1.TrustService/Append", "trust")
        );
        for path in ["", "/", "/someone@example.com", "/openarchive.trust.v1.TrustService/append"] {
            assert_eq!(name(path), ("unknown", "unknown"), "{path}");
        }
    }

    #[test]
    fn a_status_is_named_by_its_number() {
        let check = |status: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", status.parse().unwrap());
            assert_eq!(code(&headers), expected, "{status}");
        };
        check("0", Some("OK"));
        check("7", Some("PERMISSION_DENIED"));
        check("16", Some("UNAUTHENTICATED"));
        check("17", Some("UNKNOWN"));
        check("x", None);
        assert_eq!(code(&HeaderMap::new()), None);
    }
}
