//! What an import did.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Skipped things that are named; beyond that they are only counted.
pub const SKIPPED_LISTED_MAX: usize = 1000;

/// Shape of `openarchive-edge import --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct ImportSummary {
    /// Mails that were taken into the buffer now, and their bytes.
    pub imported: u64,
    pub imported_bytes: u64,
    /// Mails that this import had taken before it was interrupted.
    pub already_imported: u64,
    pub skipped: u64,
    /// The first of those skipped: at most [`SKIPPED_LISTED_MAX`].
    pub skipped_list: Vec<Skipped>,
    /// Nothing is left that repeating the import could still take; repeating it adds observations.
    pub complete: bool,
}

/// Something that is no mail, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub place: String,
    pub reason: String,
}

/// For people.
impl fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "imported          {} mails, {} bytes", self.imported, self.imported_bytes)?;
        writeln!(f, "already imported  {}", self.already_imported)?;
        writeln!(f, "skipped           {}", self.skipped)?;
        for Skipped { place, reason } in &self.skipped_list {
            writeln!(f, "  {place}: {reason}")?;
        }
        if !self.complete {
            writeln!(f, "not all could be read: repeat the import to take the rest")?;
        }
        Ok(())
    }
}

/// Whether repeating the import may bring what was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hope {
    /// It is no mail, too long, or gone.
    None,
    /// It could not be read this time.
    Repeat,
}

/// Counts from several tasks.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    summary: ImportSummary,
    to_repeat: bool,
}

impl Tally {
    pub(super) fn imported(&self, bytes: u64) {
        self.with(|counts| {
            counts.summary.imported += 1;
            counts.summary.imported_bytes += bytes;
        });
    }

    pub(super) fn already_imported(&self, mails: u64) {
        self.with(|counts| counts.summary.already_imported += mails);
    }

    pub(super) fn skipped(&self, path: &Path, at_byte: Option<u64>, reason: String, hope: Hope) {
        let place = match at_byte {
            Some(byte) => format!("{} at byte {byte}", path.display()),
            None => path.display().to_string(),
        };
        self.with(|counts| {
            counts.summary.skipped += 1;
            counts.to_repeat |= hope == Hope::Repeat;
            if counts.summary.skipped_list.len() < SKIPPED_LISTED_MAX {
                counts.summary.skipped_list.push(Skipped { place, reason });
            }
        });
    }

    pub(super) fn is_complete(&self) -> bool {
        self.with(|counts| !counts.to_repeat)
    }

    pub(super) fn into_summary(self, complete: bool) -> ImportSummary {
        let counts = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        ImportSummary { complete, ..counts.summary }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_counted_without_end_and_named_up_to_a_limit() {
        let tally = Tally::default();
        for byte in 0..=SKIPPED_LISTED_MAX as u64 {
            tally.skipped(Path::new("a.mbox"), Some(byte), "no mail".to_owned(), Hope::None);
        }
        assert!(tally.is_complete());
        tally.skipped(Path::new("b.eml"), None, "permission denied".to_owned(), Hope::Repeat);
        assert!(!tally.is_complete());
        let summary = tally.into_summary(false);
        assert_eq!(
            (summary.skipped, summary.skipped_list.len()),
            (SKIPPED_LISTED_MAX as u64 + 2, SKIPPED_LISTED_MAX)
        );
        assert_eq!(summary.skipped_list[1].place, "a.mbox at byte 1");
        assert!(summary.to_string().contains("repeat the import"), "{summary}");
    }
}
