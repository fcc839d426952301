//! The agent's durable memory: every mail from its `250` (or its import) until the archive has proved that it has it.
//!
//! One SQLite database, `buffer.db`, in WAL mode with `synchronous = FULL`. One thread writes, by group commit: all
//! that waits when the previous commit ended goes into one transaction with one fsync. Reads use a second connection.
//!
//! # For the sync worker
//! - [`Buffer::wait_for_arrival`] returns when mail was accepted since the last call; poll as well, since an import in
//!   another process does not wake this one.
//! - [`Buffer::pending`]`(after, limit)` lists mail in the order of acceptance, which is the order of `seq` within one
//!   agent epoch. Each [`Buffered`] has all that an `Offer` says. `after` is the [`MessageId`] of the last one seen.
//! - [`Buffer::blob`] opens a part or skeleton for upload, piece by piece, never whole in memory.
//! - [`Buffer::prune`] takes mails whose receipts were verified: in one transaction it keeps receipts and checkpoint and
//!   drops the mails and every blob that no other mail here refers to. Durable when it returns.
//! - [`Buffer::replace_whole`] after a `Mismatch`: the mail is kept as one identity part from then on.
//! - [`Buffer::set_epoch`] when the core knows a higher `seq` than was ever given out here; mail that already has a
//!   seat keeps it. [`Buffer::reseat`] after `SeatTaken`: that one mail gets the next seat of the current epoch.
//! - [`Buffer::checkpoint`] is the last one verified for an origin; [`Buffer::keep_suspect`] keeps one that failed.
//! - [`Buffer::raise_alarm`], [`Buffer::clear_alarm`], [`Buffer::alarms`]: what a person must look at.
//!
//! # For import
//! - [`crate::accept::Acceptor::accept`] with [`crate::accept::Arrival::progress`] set stores the mail and the position
//!   behind it in one transaction; [`Buffer::import_progress`] gives the position to go on from.
//! - [`BufferError::Full`] means: wait until [`Buffer::has_room`], then try the same mail again.
//!
//! All writes are durable when they return, and are not undone if the caller stops waiting: a dropped future may still
//! be committed.

mod blob;
mod counters;
mod error;
mod import_progress;
mod message;
mod open;
mod pending;
mod prune;
mod schema;
mod seats;
mod store;
mod watch;
mod whole;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;

pub use blob::{BLOB_CHUNK_BYTES_MAX, BlobReader};
pub use counters::{Expected, Stats};
pub use error::BufferError;
pub use import_progress::Progress;
pub use message::{BlobRef, Buffered, Envelope, MessageId, NewBlob, NewMessage, State};
pub use prune::{Prune, StoredReceipt};
pub use watch::{Alarm, KnownCheckpoint};
pub(crate) use whole::whole_skeleton;

use crate::spool::SpoolDir;
use counters::Counters;
use writer::Writer;

/// Where the buffer is and how full it may become.
#[derive(Debug, Clone)]
pub struct BufferOptions {
    /// `buffer.db` and the folder `spool` are in it. Made if it is not there, for its owner alone.
    pub data_dir: PathBuf,
    /// From this many bytes of buffered blobs on, no mail is taken.
    pub high_water_bytes: u64,
}

/// A handle; clones share one database. The writer thread ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Buffer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    instance: [u8; 16],
    high_water_bytes: u64,
    spool_dir: SpoolDir,
    counters: Arc<Counters>,
    writer: Writer,
    reader: Arc<std::sync::Mutex<Connection>>,
}

impl Buffer {
    /// The agent's identity beside its disk, chosen at random when the buffer was made.
    pub fn instance(&self) -> [u8; 16] {
        self.0.instance
    }

    pub fn data_dir(&self) -> &Path {
        &self.0.data_dir
    }

    pub fn spool_dir(&self) -> &SpoolDir {
        &self.0.spool_dir
    }

    pub fn high_water_bytes(&self) -> u64 {
        self.0.high_water_bytes
    }

    /// Runs `work` in a transaction of the writer thread, alone or with others; returns when it is durable.
    ///
    /// `work` may run twice (the group it was in failed because of another) and must then do the same again.
    async fn write<T, F>(&self, bytes: u64, work: F) -> Result<T, BufferError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, BufferError> + Send + 'static,
    {
        self.0.writer.write(bytes, work).await
    }

    /// Runs `work` on the reading connection, on a thread where blocking is allowed.
    async fn read<T, F>(&self, doing: &'static str, work: F) -> Result<T, BufferError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = Arc::clone(&self.0.reader);
        tokio::task::spawn_blocking(move || {
            let connection = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&connection).map_err(|source| BufferError::database(doing, source))
        })
        .await
        .map_err(|_| BufferError::Stopped)?
    }
}
