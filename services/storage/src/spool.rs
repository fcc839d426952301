//! Ciphertext on its way into a pack: in memory while it is small, else in a temporary file.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use openarchive_objects::Content;
use tempfile::{NamedTempFile, TempPath};

/// Memory that stands for a spool file, in bytes: so that the files under way are limited too.
const FILE_SHARE_BYTES: usize = 1024 * 1024;

/// A folder for temporary files of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<PathBuf>);

impl Spool {
    /// Makes the folder and removes what a crashed process left: nobody else may use it. Blocking.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self(Arc::new(dir.to_owned())))
    }

    /// A writer that keeps up to `memory_bytes_max` bytes in memory and goes to a file beyond.
    pub(crate) fn writer(&self, memory_bytes_max: usize) -> SpoolWriter {
        SpoolWriter { spool: self.clone(), memory_bytes_max, memory: Vec::new(), file: None, length: 0 }
    }
}

pub(crate) struct SpoolWriter {
    spool: Spool,
    memory_bytes_max: usize,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    length: u64,
}

impl SpoolWriter {
    pub(crate) fn finish(self) -> Spooled {
        match self.file {
            None => Spooled::Memory(self.memory),
            Some(file) => Spooled::File { path: file.into_temp_path(), length: self.length },
        }
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > self.memory_bytes_max {
            let mut file = NamedTempFile::new_in(self.spool.0.as_path())?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            None => self.memory.extend_from_slice(bytes),
            Some(file) => file.write_all(bytes)?,
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was written. A file goes when this is dropped.
#[derive(Debug)]
pub(crate) enum Spooled {
    Memory(Vec<u8>),
    File { path: TempPath, length: u64 },
}

impl Spooled {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// What it counts for where the bytes under way are limited.
    pub(crate) fn share_bytes(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { .. } => FILE_SHARE_BYTES,
        }
    }

    pub(crate) fn copy_to(&self, out: &mut SpoolWriter) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => out.write_all(bytes),
            Self::File { path, length } => {
                let copied = io::copy(&mut File::open(path)?, out)?;
                if copied == *length {
                    Ok(())
                } else {
                    Err(io::Error::other("a spool file has changed its length"))
                }
            }
        }
    }

    /// What the object store is given. A file is removed when the second value is dropped, unless the store took it.
    pub(crate) fn into_content(self) -> (Content, Option<TempPath>) {
        match self {
            Self::Memory(bytes) => (Content::Bytes(bytes), None),
            Self::File { path, .. } => (Content::File(path.to_path_buf()), Some(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_to_a_file_beyond_the_limit_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let files = || fs::read_dir(dir.path()).unwrap().count();
        for (bytes, in_memory) in [(0, true), (8, true), (9, false), (100, false)] {
            let content = vec![7; bytes];
            let mut writer = spool.writer(8);
            content.chunks(3).for_each(|piece| writer.write_all(piece).unwrap());
            let spooled = writer.finish();
            assert_eq!((spooled.length(), spooled.share_bytes() == bytes), (bytes as u64, in_memory));
            assert_eq!(files(), usize::from(!in_memory));
            let mut copy = spool.writer(1000);
            spooled.copy_to(&mut copy).unwrap();
            assert!(matches!(copy.finish(), Spooled::Memory(copied) if copied == content));
            drop(spooled);
            assert_eq!(files(), 0);
        }
    }

    #[test]
    fn opening_removes_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("left"), b"x").unwrap();
        Spool::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
