//! Log lines: JSON for machines, text for people. Both show the ids of the span that they were written in.

mod json;
mod text;

pub(crate) use json::Json;
pub(crate) use text::Text;
use tracing::Subscriber;
use tracing_subscriber::{fmt::FmtContext, registry::LookupSpan};

use crate::ids::Ids;

/// The ids of the span in which an event happened.
fn ids_of<S, N>(context: &FmtContext<'_, S, N>) -> Ids
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> tracing_subscriber::fmt::FormatFields<'writer> + 'static,
{
    context.lookup_current().map(|span| Ids::of(&span)).unwrap_or_default()
}
