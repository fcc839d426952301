//! Taking in mail that is there already: an EML file, a folder of EML files, a Maildir, an mbox file.
//!
//! Bytes are taken as they are: a file with LF endings stays one with LF endings, and is another mail than the same
//! with CRLF. The envelope is `{from: "", to: [], peer: "import", mode: "import"}`.
//!
//! # Each mail once, and when again
//! An import is one *run*, named in the buffer when it begins. The place of every mail is kept in the transaction that
//! keeps the mail, so a run that was killed goes on with exactly what it had not taken yet. When a run is complete it
//! is over: importing the same source again is a new run, which adds a further observation of every mail (and no
//! content, since the archive has it). A run in which something could not be read stays open, so that repeating it,
//! once that is mended, takes only what is missing.
//!
//! Each source is to be imported by one process at a time. Mail goes into the buffer of an agent whether that runs or
//! not; at the high-water mark the import waits until the agent has handed mail on. The program holds an [`ImportLock`]
//! meanwhile: an agent that drains is not empty for good before that is free.

mod file_stamp;
mod files;
mod keep;
mod listing;
mod maildir;
mod mbox;
mod progress_bar;
mod read_mail;
mod run_record;
mod slots;
mod summary;
mod under_way;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

pub use progress_bar::ProgressDisplay;
pub use summary::{ImportSummary, SKIPPED_LISTED_MAX, Skipped};
pub use under_way::ImportLock;

use crate::{accept::Acceptor, buffer::BufferError};
use listing::{Listing, Source};
use progress_bar::Bar;
use run_record::Run;
use summary::Tally;

/// Mails that are read and kept at a time, so that they share commits.
const MAILS_AT_A_TIME: usize = 16;

/// What ends an import early. What was imported is kept, and the same import goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read {}: {source}", .path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error("{} is neither a file nor a folder", .path.display())]
    NotMail { path: PathBuf },
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("a task of the import ended before its work was done")]
    Task,
}

/// Imports all mail under `path`. Cancel-safe: dropped at any point, it goes on where it was when it is repeated.
pub async fn import(
    acceptor: &Acceptor,
    path: &Path,
    display: ProgressDisplay,
) -> Result<ImportSummary, ImportError> {
    let path = path.to_owned();
    let (root, listing) = spawn_blocking(move || {
        let error = |source| ImportError::Source { path: path.clone(), source };
        let root = path.canonicalize().map_err(error)?;
        let listing = Listing::of(&root)?;
        Ok::<_, ImportError>((root, listing))
    })
    .await
    .map_err(|_| ImportError::Task)??;
    let run = Run::begin_or_resume(acceptor.buffer(), &root).await?;
    let import = Import { acceptor, run, tally: Tally::default(), bar: Bar::new(display, listing.bytes) };
    let outcome = import.take_all(&listing.sources).await;
    import.bar.finish();
    outcome?;
    let complete = import.tally.is_complete();
    if complete {
        import.run.complete(acceptor.buffer(), &root).await?;
    }
    Ok(import.tally.into_summary(complete))
}

/// An import under way.
struct Import<'a> {
    acceptor: &'a Acceptor,
    run: Run,
    tally: Tally,
    bar: Bar,
}

impl Import<'_> {
    async fn take_all(&self, sources: &[Source]) -> Result<(), ImportError> {
        let mut rest = sources;
        while let Some(first) = rest.first() {
            match first {
                Source::File(_) => {
                    // Files in a row share commits.
                    let end = rest
                        .iter()
                        .position(|source| !matches!(source, Source::File(_)))
                        .unwrap_or(rest.len());
                    self.take_files(&rest[..end]).await?;
                    rest = &rest[end..];
                    continue;
                }
                Source::Mbox(mbox) => self.take_mbox(&mbox.path).await?,
                Source::Maildir(folder) => self.take_maildir(folder).await?,
            }
            rest = &rest[1..];
        }
        Ok(())
    }
}
