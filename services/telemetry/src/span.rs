//! The spans of the archive, with every field that they may have.

use opentelemetry::{Context, trace::TraceContextExt as _};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::propagation;

/// The target of every span that is kept; spans of libraries are not.
pub(crate) const TARGET: &str = "openarchive_telemetry::span";

/// Work that nobody asked for by a call, done by `role`: a batch of an agent's sync, a sweep. Child of the current span,
/// or the beginning of a trace.
pub fn work_span(role: &'static str, name: &'static str) -> Span {
    let span = info_span!(
        target: TARGET, "work", otel.name = name, otel.kind = "internal", role, trace_id = Empty);
    show_trace_id(&span);
    span
}

/// A job, in the trace of the request that made it. `traceparent` as the job row has it; a bad one counts as none.
pub fn job_span(kind: &str, traceparent: Option<&str>) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "job", otel.name = kind, otel.kind = "consumer", role = "worker",
        trace_id = Empty);
    begin_under(&span, traceparent.map(propagation::from_traceparent));
    span
}

/// What is done for several jobs at once: in the trace of the first, linked to those of the others.
pub fn batch_span<'t>(name: &'static str, traceparents: impl IntoIterator<Item = Option<&'t str>>) -> Span {
    let mut contexts = traceparents.into_iter().flatten().map(propagation::from_traceparent);
    let span = info_span!(
        target: TARGET, parent: None, "job", otel.name = name, otel.kind = "consumer", role = "worker",
        trace_id = Empty);
    let first = contexts.next();
    for context in contexts {
        span.add_link(context.span().span_context().clone());
    }
    begin_under(&span, first);
    span
}

/// A gRPC call as its server sees it.
pub(crate) fn grpc_span(method: &'static str, role: &'static str, request_id: &str, parent: Context) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "grpc", otel.name = method, otel.kind = "server",
        otel.status_code = Empty, role, request_id, trace_id = Empty, caller = Empty, code = Empty,
        duration_ms = Empty);
    begin_under(&span, Some(parent));
    span
}

/// An HTTP request as the gateway sees it. `route` is the pattern, never the path.
pub(crate) fn http_span(method: &str, route: &str, request_id: &str, parent: Context) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "http", otel.name = format!("{method} {route}"), otel.kind = "server",
        otel.status_code = Empty, role = "gateway", request_id, trace_id = Empty, code = Empty,
        duration_ms = Empty);
    begin_under(&span, Some(parent));
    span
}

/// Writes the class of a call's caller (`agent`, `gateway` ..: never who exactly) on the current call's span.
pub fn record_caller(class: &'static str) {
    Span::current().record("caller", class);
}

fn begin_under(span: &Span, parent: Option<Context>) {
    if let Some(parent) = parent {
        // Fails only where no layer makes traces: then there is nothing to be under.
        let _ = span.set_parent(parent);
    }
    show_trace_id(span);
}

/// Log lines inside the span carry the id from here on. Starts the span: its parent is final.
fn show_trace_id(span: &Span) {
    let context = span.context();
    let trace = context.span().span_context().trace_id();
    if trace != opentelemetry::TraceId::INVALID {
        span.record("trace_id", trace.to_string());
    }
}
