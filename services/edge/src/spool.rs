//! A growing run of bytes that stays in memory while it is small and goes on in a file when it is not.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::content::Content;

/// What a spool keeps in memory before it goes on in a file. A mail and its parts are a spool each, and a session is
/// to hold at most 1 MiB.
pub const SPOOL_MEMORY_BYTES_MAX: usize = 512 * 1024;

/// What a spool gathers in memory between two writes to its file.
pub const SPOOL_WRITE_BYTES: usize = 256 * 1024;

/// The folder that spools put their files in. The files have no name, so nothing is left of them after a crash.
#[derive(Debug, Clone)]
pub struct SpoolDir(Arc<Path>);

impl SpoolDir {
    /// The folder must be there and belong to this agent alone.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder.into())
    }
}

/// Not durable: what is in a spool becomes durable when the buffer has committed it.
#[derive(Debug)]
pub struct Spool {
    folder: SpoolDir,
    memory: Vec<u8>,
    file: Option<File>,
    /// Bytes in the file; those in `memory` follow them.
    written: u64,
}

impl Spool {
    pub fn new(folder: &SpoolDir) -> Self {
        Self { folder: folder.clone(), memory: Vec::new(), file: None, written: 0 }
    }

    pub fn length(&self) -> u64 {
        self.written + self.memory.len() as u64
    }

    /// Where to append bytes without a copy. [`Self::settle`] or [`Self::settle_blocking`] comes soon after.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Writes what has become too much for the memory. Blocks on the disk.
    pub fn settle_blocking(&mut self) -> io::Result<()> {
        if self.is_settled() { Ok(()) } else { self.write_out() }
    }

    /// [`Self::settle_blocking`] on a thread where blocking is allowed. Not cancel-safe: a dropped call drops the bytes.
    pub async fn settle(&mut self) -> io::Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let mut spool = std::mem::replace(self, Self::new(&self.folder));
        let (spool, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = spool.write_out();
            (spool, outcome)
        })
        .await
        .map_err(io::Error::other)?;
        *self = spool;
        outcome
    }

    /// Forgets everything from `length` on.
    pub fn truncate(&mut self, length: u64) {
        assert!(length <= self.length(), "a spool is only ever cut shorter");
        if length >= self.written {
            self.memory.truncate((length - self.written) as usize);
        } else {
            self.memory.clear();
            self.written = length;
        }
    }

    /// The bytes, which do not change any more. Blocks on the disk if they are in a file.
    pub fn into_content(mut self) -> io::Result<Content> {
        if self.file.is_some() {
            self.write_out()?;
        }
        Ok(match self.file {
            Some(file) => Content::File { file: Arc::new(file), offset: 0, length: self.written },
            None => self.memory.into(),
        })
    }

    fn is_settled(&self) -> bool {
        let bytes_max = if self.file.is_some() { SPOOL_WRITE_BYTES } else { SPOOL_MEMORY_BYTES_MAX };
        self.memory.len() <= bytes_max
    }

    fn write_out(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder.0)?),
        };
        file.write_all_at(&self.memory, self.written)?;
        self.written += self.memory.len() as u64;
        self.memory.clear();
        self.memory.shrink_to(SPOOL_WRITE_BYTES);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content
            .read(1000, |piece| {
                bytes.extend_from_slice(piece);
                io::Result::Ok(())
            })
            .unwrap();
        bytes
    }

    fn numbered(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn a_spool_stays_in_memory_up_to_its_limit_and_goes_on_in_a_file_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let dir = SpoolDir::new(folder.path().to_owned());
        for (length, in_file) in [(SPOOL_MEMORY_BYTES_MAX, false), (SPOOL_MEMORY_BYTES_MAX + 1, true)] {
            let expected = numbered(length);
            let mut spool = Spool::new(&dir);
            for piece in expected.chunks(60_000) {
                spool.tail().extend_from_slice(piece);
                spool.settle_blocking().unwrap();
            }
            assert_eq!(spool.length(), length as u64);
            let content = spool.into_content().unwrap();
            assert_eq!(matches!(content, Content::File { .. }), in_file, "{length}");
            assert_eq!(bytes_of(&content), expected);
            assert_eq!(bytes_of(&content.slice(7..100_007)), &expected[7..100_007]);
            let mut middle = [0; 9];
            content.read_exact_at(&mut middle, 400_000).unwrap();
            assert_eq!(middle, expected[400_000..400_009]);
            assert!(content.read_exact_at(&mut middle, length as u64 - 8).is_err());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "spool files have no name");
    }

    #[tokio::test]
    async fn what_is_cut_off_is_gone_whether_it_was_written_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&SpoolDir::new(folder.path().to_owned()));
        let expected = numbered(3_000_000);
        spool.tail().extend_from_slice(&expected);
        spool.settle().await.unwrap();
        spool.tail().extend_from_slice(b"not yet written");
        spool.truncate(3_000_000);
        spool.tail().extend_from_slice(b"x");
        spool.truncate(2_000_000);
        spool.tail().extend_from_slice(b"end");
        let content = spool.into_content().unwrap();
        assert_eq!(bytes_of(&content), [&expected[..2_000_000], b"end"].concat());
    }
}
