//! W3C Trace Context: how a trace goes from one process to the next, and through a job row.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{REQUEST_ID_HEADER, ids::Ids};

const TRACEPARENT: &str = "traceparent";

/// Gives a call the trace of the current span, and its request id if the call has none yet. Does nothing outside of
/// spans.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
    if !headers.contains_key(REQUEST_ID_HEADER)
        && let Some(id) = Ids::current().request_id
        && let Ok(value) = HeaderValue::from_str(&id)
    {
        headers.insert(REQUEST_ID_HEADER, value);
    }
}

/// The caller's span; an empty context where there is none, or none that can be read.
pub fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &ReadHeaders(headers))
}

/// The current span as `traceparent` writes it, for a row that outlives the call. `None` outside of a trace.
pub fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Headers(&mut headers));
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// What [`traceparent`] wrote; an empty context if it cannot be read.
pub fn from_traceparent(text: &str) -> Context {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(TRACEPARENT, value);
    }
    extract(&headers)
}

struct Headers<'h>(&'h mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

struct ReadHeaders<'h>(&'h HeaderMap);

impl Extractor for ReadHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;

    use super::*;

    #[test]
    fn a_traceparent_is_read_and_anything_else_counts_as_none() {
        let read = |text: &str| from_traceparent(text).span().span_context().clone();
        let good = read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(good.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(good.is_remote() && good.is_sampled());
        for bad in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "nonsense\u{e4}",
            "00-0af7651916cd43dd8448eb211c80319c",
        ] {
            assert!(!read(bad).is_valid(), "{bad}");
        }
    }

    #[test]
    fn outside_of_a_span_nothing_is_injected() {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
        assert_eq!(traceparent(), None);
    }
}
