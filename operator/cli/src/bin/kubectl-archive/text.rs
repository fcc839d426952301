//! Text for a terminal.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// Columns with a line of names above; one row is one line. Every cell is foreign text.
pub(crate) fn table<const COLUMNS: usize>(
    names: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header(names);
    for row in rows {
        table.add_row(row.map(|cell| harmless(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// No control character reaches the terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Writes lines to the standard output, with a line break at the end. A reader that has seen enough (`| head`) changes nothing:
/// the exit code stays what was found.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    match write_lines(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn write_lines(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

pub(crate) fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// One line beside the output proper. Foreign text; nothing if nobody reads it.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(line));
}

/// What is being done, on one line that is written again and again; nothing where no person looks.
pub(crate) struct Progress {
    shown: bool,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: false, is_terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn show(&mut self, line: &str) {
        if self.is_terminal {
            self.shown = true;
            let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
