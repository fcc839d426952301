//! Bytes that do not change any more: in memory, or a range of an unlinked file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;

/// Bytes read from a file at a time.
pub const READ_BYTES: usize = 64 * 1024;

/// A message, a part or a skeleton on its way into the buffer. Cheap to clone; the file lives as long as a clone.
#[derive(Debug, Clone)]
pub enum Content {
    Memory(Bytes),
    File { file: Arc<File>, offset: u64, length: u64 },
}

impl Content {
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// The part of the content at `range`, which must lie within it.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        assert!(range.start <= range.end && range.end <= self.length(), "a slice lies within its content");
        match self {
            Self::Memory(bytes) => Self::Memory(bytes.slice(range.start as usize..range.end as usize)),
            Self::File { file, offset, .. } => Self::File {
                file: Arc::clone(file),
                offset: offset + range.start,
                length: range.end - range.start,
            },
        }
    }

    /// Calls `take` with the bytes in order, in pieces of at most `piece_bytes_max`.
    pub fn read<E: From<io::Error>>(
        &self,
        piece_bytes_max: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Memory(bytes) => bytes.chunks(piece_bytes_max).try_for_each(take),
            Self::File { file, offset, length } => {
                let mut piece = vec![0; piece_bytes_max.min(*length as usize)];
                let mut done = 0;
                while done < *length {
                    let now = (piece.len() as u64).min(*length - done) as usize;
                    file.read_exact_at(&mut piece[..now], offset + done)?;
                    take(&piece[..now])?;
                    done += now as u64;
                }
                Ok(())
            }
        }
    }

    /// Fills `target` from `position` on; both ends must lie within the content.
    pub fn read_exact_at(&self, target: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => {
                let start = position as usize;
                let source = bytes.get(start..start + target.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                target.copy_from_slice(source);
                Ok(())
            }
            Self::File { file, offset, length } => {
                if position + target.len() as u64 > *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.read_exact_at(target, offset + position)
            }
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes.into())
    }
}
