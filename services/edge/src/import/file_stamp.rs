//! Which file it was: so that one put in its place later is not taken for it.

use std::{fmt, fs::Metadata, os::unix::fs::MetadataExt};

/// Changes whenever the file is replaced or written to. Written `INODE-BYTES-SECONDS.NANOSECONDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    inode: u64,
    bytes: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for FileStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inode, bytes, modified_seconds, modified_nanoseconds } = self;
        write!(f, "{inode}-{bytes}-{modified_seconds}.{modified_nanoseconds:09}")
    }
}
