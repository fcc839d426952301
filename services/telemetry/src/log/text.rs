use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use super::ids_of;

/// Time, level, where, what; the request id last, so that it is there when it is looked for and in nobody's way.
pub(crate) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            write!(writer, " \u{1b}[{}m{level:>5}\u{1b}[0m ", colour(level))?;
        } else {
            write!(writer, " {level:>5} ")?;
        }
        write!(writer, "{}: ", event.metadata().target())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        if let Some(id) = ids_of(context).request_id {
            write!(writer, " request_id={id}")?;
        }
        writeln!(writer)
    }
}

/// SGR colour codes of ECMA-48: red, yellow, green, blue, magenta.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}
