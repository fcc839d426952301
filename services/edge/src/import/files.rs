//! Files that are one mail each.

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Import, ImportError, MAILS_AT_A_TIME,
    listing::{MailFile, Source},
    read_mail::{Place, ReadError},
    run_record::path_text,
    summary::Hope,
};

impl Import<'_> {
    /// Several at a time, so that they share commits. Takes the files among `sources`.
    pub(super) async fn take_files(&self, sources: &[Source]) -> Result<(), ImportError> {
        let files = sources.iter().filter_map(|source| match source {
            Source::File(file) => Some(file),
            _ => None,
        });
        stream::iter(files)
            .map(|file| self.take_file(file))
            .buffer_unordered(MAILS_AT_A_TIME)
            .try_collect::<()>()
            .await
    }

    async fn take_file(&self, file: &MailFile) -> Result<(), ImportError> {
        let MailFile { path, stamp } = file;
        let progress = self.run.progress(format!("file {}", path_text(path)), &stamp.to_string());
        if self.run.has(self.acceptor.buffer(), &progress).await? {
            self.tally.already_imported(1);
        } else {
            match self.keep(&Place::File(path.clone()), None, &progress).await? {
                Ok(bytes) => self.tally.imported(bytes),
                Err(error) => self.tally.skipped(path, None, error.to_string(), hope_after(&error)),
            }
        }
        self.bar.passed(stamp.bytes());
        Ok(())
    }
}

pub(super) const fn hope_after(error: &ReadError) -> Hope {
    match error {
        ReadError::Gone | ReadError::Empty | ReadError::TooLong => Hope::None,
        ReadError::Changed | ReadError::Io(_) => Hope::Repeat,
    }
}
