//! Maildirs, which other programs deliver to and move mail about in while they are read.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::{
    Import, ImportError, MAILS_AT_A_TIME,
    files::hope_after,
    read_mail::{Place, ReadError},
    run_record::path_text,
    summary::Hope,
};

/// How often the folder is listed again because mail moved away while it was being read.
const PASSES_MAX: usize = 10;

/// One mail, wherever in the Maildir it is just now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MaildirMail {
    /// Its name for life: the file's name up to the flags.
    pub(super) unique: Vec<u8>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

pub(super) fn is_maildir(folder: &Path) -> bool {
    folder.join("cur").is_dir() && folder.join("new").is_dir()
}

/// Each mail in `cur` and `new` once, in the order of names. Blocks on the disk.
///
/// `new` is read first: mail moves from there to `cur`, and not back, so none is missed.
pub(super) fn list(folder: &Path) -> io::Result<Vec<MaildirMail>> {
    let mut mails = Vec::new();
    for subfolder in ["new", "cur"] {
        for entry in fs::read_dir(folder.join(subfolder))? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let unique = unique_of(&name);
            // What is gone by now may be found under another name later.
            let metadata = fs::metadata(entry.path());
            if metadata.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
                continue;
            }
            let bytes = metadata.map_or(0, |metadata| metadata.len());
            mails.push(MaildirMail { unique, path: entry.path(), bytes });
        }
    }
    // Of a mail that was moved meanwhile, the later place is the better one.
    mails.reverse();
    mails.sort_by(|a, b| a.unique.cmp(&b.unique));
    mails.dedup_by(|a, b| a.unique == b.unique);
    Ok(mails)
}

/// `1700000000.M1P2.host:2,RS` -> `1700000000.M1P2.host`; some systems use `;` for the colon.
fn unique_of(name: &OsStr) -> Vec<u8> {
    let name = name.as_bytes();
    let flags = name.windows(3).position(|bytes| matches!(bytes, b":2," | b";2,"));
    name[..flags.unwrap_or(name.len())].to_vec()
}

impl Import<'_> {
    /// Takes every mail that is there when it begins. What moves away while it is read is looked for again.
    pub(super) async fn take_maildir(&self, folder: &Path) -> Result<(), ImportError> {
        let mut wanted: Option<BTreeSet<Vec<u8>>> = None;
        for _ in 0..PASSES_MAX {
            let mut mails = self.list_maildir(folder).await?;
            if let Some(wanted) = &wanted {
                mails.retain(|mail| wanted.contains(&mail.unique));
                let here: BTreeSet<_> = mails.iter().map(|mail| &mail.unique).collect();
                for unique in wanted.iter().filter(|unique| !here.contains(unique)) {
                    let path = folder.join(OsStr::from_bytes(unique));
                    self.tally.skipped(&path, None, ReadError::Gone.to_string(), Hope::None);
                }
            }
            let moved: Vec<Vec<u8>> = stream::iter(&mails)
                .map(|mail| self.take_maildir_mail(folder, mail))
                .buffer_unordered(MAILS_AT_A_TIME)
                .try_filter_map(|moved| async move { Ok(moved) })
                .try_collect()
                .await?;
            if moved.is_empty() {
                return Ok(());
            }
            wanted = Some(moved.into_iter().collect());
        }
        let reason = "mail is being moved about faster than it can be read".to_owned();
        self.tally.skipped(folder, None, reason, Hope::Repeat);
        Ok(())
    }

    /// Answers the mail's name if it is not where it was.
    async fn take_maildir_mail(
        &self,
        folder: &Path,
        mail: &MaildirMail,
    ) -> Result<Option<Vec<u8>>, ImportError> {
        let name = path_text(&folder.join(OsStr::from_bytes(&mail.unique)));
        let progress = self.run.progress(format!("maildir {name}"), "");
        if self.run.has(self.acceptor.buffer(), &progress).await? {
            self.tally.already_imported(1);
        } else {
            match self.keep(&Place::File(mail.path.clone()), None, &progress).await? {
                Ok(bytes) => self.tally.imported(bytes),
                Err(ReadError::Gone) => return Ok(Some(mail.unique.clone())),
                Err(error) => self.tally.skipped(&mail.path, None, error.to_string(), hope_after(&error)),
            }
        }
        self.bar.passed(mail.bytes);
        Ok(None)
    }

    async fn list_maildir(&self, folder: &Path) -> Result<Vec<MaildirMail>, ImportError> {
        let path = folder.to_owned();
        let listed = spawn_blocking(move || list(&path)).await.map_err(|_| ImportError::Task)?;
        listed.map_err(|source| ImportError::Source { path: folder.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_keeps_its_name_whatever_flags_it_gets() {
        let check =
            |name: &str, unique: &str| assert_eq!(unique_of(OsStr::new(name)), unique.as_bytes(), "{name}");
        check("1700000000.M1P2.host", "1700000000.M1P2.host");
        check("1700000000.M1P2.host:2,", "1700000000.M1P2.host");
        check("1700000000.M1P2.host,S=12:2,FRS", "1700000000.M1P2.host,S=12");
        check("1700000000.M1P2.host;2,S", "1700000000.M1P2.host");
        check("a:b", "a:b");
    }

    #[test]
    fn a_mail_that_is_seen_in_both_folders_is_one() {
        let folder = tempfile::tempdir().unwrap();
        for subfolder in ["cur", "new", "tmp"] {
            fs::create_dir(folder.path().join(subfolder)).unwrap();
        }
        for name in ["new/2", "cur/2:2,S", "cur/1:2,", "new/3", "tmp/4", "cur/.hidden"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("cur/5")).unwrap();
        let listed = list(folder.path()).unwrap();
        let names: Vec<_> =
            listed.iter().map(|mail| mail.path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, ["cur/1:2,", "cur/2:2,S", "new/3"].map(Path::new));
    }
}
