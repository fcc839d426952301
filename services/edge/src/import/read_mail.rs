//! Reading one mail from where it stands into a spool.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use openarchive_domain::{Digest, DigestHasher};
use openarchive_mail::{
    limits::MESSAGE_BYTES_MAX,
    mbox::{CopyError, MboxEntry, MboxError, MboxReader},
};
use tokio::task::spawn_blocking;

use crate::spool::{Spool, SpoolDir};

const READ_BYTES: usize = 64 * 1024;

/// An mbox that is read from front to back; it looks ahead and goes back within this many bytes.
pub(super) const MBOX_READ_BYTES: usize = 256 * 1024;

/// Where one mail stands, so that it can be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    /// Its `From ` line is at this byte.
    Mbox {
        path: PathBuf,
        offset: u64,
    },
}

/// Why a mail cannot be imported.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("is gone")]
    Gone,
    #[error("is empty")]
    Empty,
    #[error("is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("is no message any more where one was: the file is being changed")]
    Changed,
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Gone } else { Self::Io(error) }
    }
}

impl Place {
    /// The mail's exact bytes.
    pub(super) async fn read(&self, spool_dir: &SpoolDir) -> Result<Spool, ReadError> {
        let (place, spool_dir) = (self.clone(), spool_dir.clone());
        spawn_blocking(move || match place {
            Self::File(path) => read_file(&path, &spool_dir),
            Self::Mbox { path, offset } => {
                let mail = read_mbox_at(&path, offset, &spool_dir)?;
                mail.map(|mail| mail.spool).ok_or(ReadError::Changed)
            }
        })
        .await
        .map_err(|error| ReadError::Io(io::Error::other(error)))?
    }
}

fn read_file(path: &Path, spool_dir: &SpoolDir) -> Result<Spool, ReadError> {
    let file = File::open(path)?;
    let mut spool = Spool::new(spool_dir);
    // One byte more than allowed shows that it is too long, even if it grew since it was listed.
    let mut file = file.take(MESSAGE_BYTES_MAX + 1);
    loop {
        let tail = spool.tail();
        let begin = tail.len();
        tail.resize(begin + READ_BYTES, 0);
        let read = match file.read(&mut tail[begin..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                tail.truncate(begin);
                continue;
            }
            read => read?,
        };
        tail.truncate(begin + read);
        spool.settle_blocking()?;
        if read == 0 {
            break;
        }
    }
    match spool.length() {
        0 => Err(ReadError::Empty),
        length if length > MESSAGE_BYTES_MAX => Err(ReadError::TooLong),
        _ => Ok(spool),
    }
}

/// One mail of an mbox.
#[derive(Debug)]
pub(super) struct MboxMail {
    pub(super) entry: MboxEntry,
    pub(super) digest: Digest,
    pub(super) spool: Spool,
}

/// Why there is no next mail.
#[derive(Debug)]
pub(super) enum MboxSkip {
    /// Reading goes on at `next`.
    Skipped { offset: u64, next: u64, why: String },
    /// Reading ends.
    Broken { offset: u64, source: io::Error },
}

pub(super) type MboxFile = MboxReader<BufReader<File>>;

pub(super) fn open_mbox(path: &Path, offset: u64) -> io::Result<MboxFile> {
    let input = BufReader::with_capacity(MBOX_READ_BYTES, File::open(path)?);
    Ok(MboxReader::resume_at(input, offset)?.with_message_bytes_max(MESSAGE_BYTES_MAX))
}

/// `None` at the end of the file.
pub(super) fn next_of_mbox(mbox: &mut MboxFile, spool_dir: &SpoolDir) -> Result<Option<MboxMail>, MboxSkip> {
    let (mut spool, mut hasher) = (Spool::new(spool_dir), DigestHasher::default());
    let copied = mbox.copy_next(&mut |piece: &[u8]| {
        hasher.update(piece);
        spool.tail().extend_from_slice(piece);
        spool.settle_blocking()
    });
    match copied {
        Ok(None) => Ok(None),
        Ok(Some(MboxEntry { offset, next, length: 0, .. })) => {
            Err(MboxSkip::Skipped { offset, next, why: ReadError::Empty.to_string() })
        }
        Ok(Some(entry)) => Ok(Some(MboxMail { entry, digest: hasher.finish(), spool })),
        Err(CopyError::Mbox(MboxError::Io { offset, source })) => Err(MboxSkip::Broken { offset, source }),
        Err(CopyError::Mbox(
            why @ (MboxError::NoFromLine { offset, next } | MboxError::TooLarge { offset, next, .. }),
        )) => Err(MboxSkip::Skipped { offset, next, why: why.to_string() }),
        // The spool's disk.
        Err(CopyError::Sink(source)) => Err(MboxSkip::Broken { offset: 0, source }),
    }
}

/// The mail whose `From ` line is at `offset`; `None` if there is none any more.
pub(super) fn read_mbox_at(path: &Path, offset: u64, spool_dir: &SpoolDir) -> io::Result<Option<MboxMail>> {
    let mut mbox = open_mbox(path, offset)?;
    match next_of_mbox(&mut mbox, spool_dir) {
        Ok(mail) => Ok(mail.filter(|mail| mail.entry.offset == offset)),
        Err(MboxSkip::Skipped { .. }) => Ok(None),
        Err(MboxSkip::Broken { source, .. }) => Err(source),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn a_file_of_as_many_bytes_as_a_mail_may_have_is_read_and_one_of_one_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, spool_dir) = (folder.path().join("one.eml"), SpoolDir::new(folder.path().to_owned()));
        let file = File::create(&path).unwrap();
        file.set_len(MESSAGE_BYTES_MAX).unwrap();
        assert_eq!(read_file(&path, &spool_dir).unwrap().length(), MESSAGE_BYTES_MAX);
        file.set_len(MESSAGE_BYTES_MAX + 1).unwrap();
        assert!(matches!(read_file(&path, &spool_dir), Err(ReadError::TooLong)));
    }

    #[test]
    fn a_mail_beyond_fifty_gigabytes_of_an_mbox_is_read_where_it_stands() {
        const OFFSET: u64 = 50_000_000_000;
        let folder = tempfile::tempdir().unwrap();
        let (path, spool_dir) = (folder.path().join("old.mbox"), SpoolDir::new(folder.path().to_owned()));
        let mail = b"Subject: far\n\nbehind fifty gigabytes\n";
        let entry = [b"From x@example.org Thu Nov 21 08:00:00 2024\n".as_slice(), mail, b"\n"].concat();
        // All before it is a hole.
        File::create(&path).unwrap().write_all_at(&entry, OFFSET).unwrap();
        let found = read_mbox_at(&path, OFFSET, &spool_dir).unwrap().unwrap();
        assert_eq!((found.entry.offset, found.entry.next), (OFFSET, OFFSET + entry.len() as u64));
        assert_eq!(found.digest, Digest::of(mail));
    }
}
