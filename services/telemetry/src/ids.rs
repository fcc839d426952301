//! Keeps `request_id` and `trace_id` of our spans where a log line and a call to another service find them.

use std::fmt::Debug;

use tracing::{
    Metadata, Span, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::DynFilterFn,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// The ids of one span; what is missing stands in a span around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    pub(crate) request_id: Option<String>,
    pub(crate) trace_id: Option<String>,
}

impl Ids {
    /// The nearest ids from `span` outwards.
    pub(crate) fn of<'r, R: LookupSpan<'r>>(span: &SpanRef<'r, R>) -> Self {
        let mut found = Self::default();
        for span in span.scope() {
            if let Some(ids) = span.extensions().get::<Self>() {
                found.request_id = found.request_id.or_else(|| ids.request_id.clone());
                found.trace_id = found.trace_id.or_else(|| ids.trace_id.clone());
            }
        }
        found
    }

    /// The ids of the span that the caller is in. Not to be called while an event is dispatched.
    pub(crate) fn current() -> Self {
        let ids = Span::current().with_subscriber(|(id, dispatch)| {
            dispatch
                .downcast_ref::<Registry>()
                .and_then(|registry| registry.span(id))
                .map(|span| Self::of(&span))
        });
        ids.flatten().unwrap_or_default()
    }
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "request_id" => self.request_id = Some(value.to_owned()),
            "trace_id" => self.trace_id = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The layer that fills [`Ids`] in.
pub(crate) struct KeepIds;

impl<S> Layer<S> for KeepIds
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut ids = Ids::default();
            attributes.record(&mut ids);
            span.extensions_mut().insert(ids);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(ids) = span.extensions_mut().get_mut::<Ids>()
        {
            values.record(ids);
        }
    }
}

/// Whether a span is one of this crate's, whose fields are known to hold nothing personal.
pub(crate) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == crate::span::TARGET
}

/// Lets only our spans through.
///
/// Asks for each span anew, although the answer never changes: a library that asks a subscriber whether something is
/// enabled and then writes nothing (sqlx does, for each statement) leaves its answer behind in tracing-subscriber, and the
/// next span on that thread that is not asked for would take that answer for its own.
pub(crate) fn our_spans<S>() -> DynFilterFn<S> {
    let asks_anew: fn(&'static Metadata<'static>) -> Interest =
        |metadata| if is_ours(metadata) { Interest::sometimes() } else { Interest::never() };
    DynFilterFn::new((|metadata, _| is_ours(metadata)) as fn(&Metadata<'_>, &Context<'_, S>) -> bool)
        .with_max_level_hint(LevelFilter::INFO)
        .with_callsite_filter(asks_anew)
}
