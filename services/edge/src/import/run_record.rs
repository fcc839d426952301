//! What the buffer remembers of an import, as pairs of texts: a source and a position in it.
//!
//! | source | position |
//! |---|---|
//! | `run ROOT` | `open RUN` or `complete RUN` |
//! | `file PATH` | `RUN STAMP`: this very file was taken in this run |
//! | `maildir FOLDER/UNIQUE` | `RUN`: the mail of this unique name was taken in this run |
//! | `mbox PATH SLOT` | `RUN INDEX OFFSET DIGEST`: see `slots.rs` |
//!
//! A run is named by 32 random hex digits. What an earlier run left is not looked at and written over.

use std::{os::unix::ffi::OsStrExt, path::Path};

use crate::buffer::{Buffer, BufferError, Progress};

/// One import of one root, from its begin to its completion, however often interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    name: String,
    /// Something of it may have been kept before.
    pub(super) resumed: bool,
}

impl Run {
    pub(super) async fn begin_or_resume(buffer: &Buffer, root: &Path) -> Result<Self, BufferError> {
        let source = source_of_root(root);
        if let Some(position) = buffer.import_progress(&source).await?
            && let Some(name) = position.strip_prefix("open ")
        {
            return Ok(Self { name: name.to_owned(), resumed: true });
        }
        let name = hex::encode(openarchive_domain::random::bytes::<16>());
        buffer.set_import_progress(Progress { source, position: format!("open {name}") }).await?;
        Ok(Self { name, resumed: false })
    }

    pub(super) async fn complete(&self, buffer: &Buffer, root: &Path) -> Result<(), BufferError> {
        let position = format!("complete {}", self.name);
        buffer.set_import_progress(Progress { source: source_of_root(root), position }).await
    }

    /// `rest`: what else is to be known, without spaces at its ends.
    pub(super) fn progress(&self, source: String, rest: &str) -> Progress {
        Progress { source, position: format!("{} {rest}", self.name).trim_end().to_owned() }
    }

    /// Whether exactly this was kept in this run.
    pub(super) async fn has(&self, buffer: &Buffer, progress: &Progress) -> Result<bool, BufferError> {
        Ok(self.resumed
            && buffer.import_progress(&progress.source).await?.as_ref() == Some(&progress.position))
    }

    /// What this run kept for `source`, as [`Run::progress`] wrote it.
    pub(super) async fn rest_of(&self, buffer: &Buffer, source: &str) -> Result<Option<String>, BufferError> {
        if !self.resumed {
            return Ok(None);
        }
        let position = buffer.import_progress(source).await?;
        let rest = position.as_deref().and_then(|position| position.strip_prefix(&self.name));
        Ok(rest.map(|rest| rest.trim_start().to_owned()))
    }
}

fn source_of_root(root: &Path) -> String {
    format!("run {}", path_text(root))
}

/// Unambiguous, and readable where the path is.
pub(super) fn path_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        // No absolute path begins like this.
        None => format!("hex:{}", hex::encode(path.as_os_str().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::buffer::BufferOptions;

    fn buffer(folder: &tempfile::TempDir) -> Buffer {
        let options = BufferOptions { data_dir: folder.path().to_owned(), high_water_bytes: 1_000_000 };
        Buffer::open(options).unwrap()
    }

    #[tokio::test]
    async fn a_run_goes_on_until_it_is_complete_and_then_another_begins() {
        let folder = tempfile::tempdir().unwrap();
        let (buffer, root) = (buffer(&folder), Path::new("/mail"));
        let first = Run::begin_or_resume(&buffer, root).await.unwrap();
        assert!(!first.resumed);
        let progress = first.progress("file /mail/1".to_owned(), "7-8-9");
        buffer.set_import_progress(progress.clone()).await.unwrap();
        let resumed = Run::begin_or_resume(&buffer, root).await.unwrap();
        assert_eq!(resumed, Run { resumed: true, ..first.clone() });
        assert!(resumed.has(&buffer, &progress).await.unwrap());
        assert!(!resumed.has(&buffer, &resumed.progress("file /mail/1".to_owned(), "7-8-10")).await.unwrap());
        assert_eq!(resumed.rest_of(&buffer, "file /mail/1").await.unwrap().as_deref(), Some("7-8-9"));
        resumed.complete(&buffer, root).await.unwrap();
        let second = Run::begin_or_resume(&buffer, root).await.unwrap();
        assert!(!second.resumed && second.name != first.name);
        assert!(!second.has(&buffer, &progress).await.unwrap());
        assert_eq!(second.rest_of(&buffer, "file /mail/1").await.unwrap(), None);
    }

    #[test]
    fn paths_that_are_no_text_are_told_apart() {
        let path = |bytes| Path::new(OsStr::from_bytes(bytes)).to_owned();
        assert_eq!(path_text(&path(b"/mail/\xc3\xa4")), "/mail/ä");
        assert_ne!(path_text(&path(b"/mail/\xff")), path_text(&path(b"/mail/\xfe")));
    }
}
