//! One span and one count for each HTTP request of the gateway.

use std::time::Instant;

use http::HeaderMap;
use tracing::{Span, debug};

use crate::{metrics, propagation, span::http_span};

/// A request from its headers to the beginning of its answer. Dropped without [`HttpCall::end`] it counts as given up
/// by its client (499).
#[derive(Debug)]
pub struct HttpCall {
    span: Span,
    /// `GET /v1/messages/{message}`
    route: String,
    started: Instant,
    ended: bool,
}

impl HttpCall {
    /// `route` is the pattern that the router matched, never the path: a path can name a mail. The parent is the client's
    /// `traceparent`, if it sent one.
    pub fn begin(method: &http::Method, route: Option<&str>, headers: &HeaderMap, request_id: &str) -> Self {
        let method = if is_usual(method) { method.as_str() } else { "OTHER" };
        let route = route.unwrap_or("unknown");
        Self {
            span: http_span(method, route, request_id, propagation::extract(headers)),
            route: format!("{method} {route}"),
            started: Instant::now(),
            ended: false,
        }
    }

    /// What is done for the request belongs into it.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    pub fn end(mut self, status: http::StatusCode) {
        self.count(status.as_u16());
    }

    fn count(&mut self, status: u16) {
        self.ended = true;
        let duration = self.started.elapsed();
        metrics::HTTP_REQUESTS.inc([&self.route, &status.to_string()]);
        metrics::HTTP_REQUEST_SECONDS.observe([&self.route], duration.as_secs_f64());
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.span.record("code", status).record("duration_ms", duration_ms);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| debug!(route = self.route, status, duration_ms, "a request is answered"));
    }
}

impl Drop for HttpCall {
    fn drop(&mut self) {
        if !self.ended {
            self.count(499);
        }
    }
}

/// Anybody can invent a method; those of HTTP fit into a label.
fn is_usual(method: &http::Method) -> bool {
    use http::Method;
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .contains(method)
}
