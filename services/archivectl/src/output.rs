//! Standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::{arguments::Format, failure::Failure, terminal};

/// Writes finished text, which is already fit for a terminal, with a line break at its end.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.is_empty() || text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush());
    written.map_err(|error| of_stdout(&error))
}

pub(crate) fn of_stdout(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::ReaderGone
    } else {
        Failure::other(format!("cannot write to the standard output: {error}"))
    }
}

/// Whether a person sees what is written to the standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Something a person should know, beside the output proper. Nothing if nobody reads it.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// One line about a failure.
pub(crate) fn complain(failure: &Failure) {
    if *failure != Failure::ReaderGone {
        let prefix = painted("error:", Colour::Red, io::stderr().is_terminal());
        remark(&format!("{prefix} {}", terminal::line(&failure.to_string())));
    }
}

/// A server's answer: as it is for programs, as `table` makes of it for people.
pub(crate) fn answer(
    value: &serde_json::Value,
    format: Format,
    table: impl FnOnce() -> Result<String, Failure>,
) -> Result<(), Failure> {
    match format {
        Format::Json => say(&terminal::json(value)),
        Format::Table => say(&table()?),
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Red,
    Green,
    Yellow,
}

/// Coloured if it goes to a terminal and nobody objects (no-color.org).
pub(crate) fn painted(text: &str, colour: Colour, to_terminal: bool) -> String {
    if !to_terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
