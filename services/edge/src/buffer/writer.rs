//! The one thread that writes, by group commit.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    BufferError,
    counters::{Counters, buffered_bytes},
    error::Doing,
};

/// Longest that a group waits for mails that sessions are about to hand in.
const GATHER_TIME_MAX: Duration = Duration::from_millis(1);

/// A group is closed when it holds this many bytes of mail, so that one commit stays short.
const GROUP_BYTES_MAX: u64 = 16 * 1024 * 1024;

const GROUP_WRITES_MAX: usize = 1024;

/// From about this many bytes in the WAL on, they are moved into the database.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// When nothing was written for this long, the WAL is moved into the database if it holds [`WAL_BYTES_WORTH_MOVING`].
const IDLE_TIME: Duration = Duration::from_secs(5);

const WAL_BYTES_WORTH_MOVING: u64 = 4 * 1024 * 1024;

/// What a write adds to the WAL beside its blobs: a handful of pages.
const WRITE_OVERHEAD_BYTES: u64 = 32 * 1024;

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<Sender<Box<dyn Write>>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A piece of work whose result type is forgotten.
trait Write: Send {
    fn bytes(&self) -> u64;
    /// Does the work inside an open transaction and keeps the result.
    fn run(&mut self, connection: &Connection) -> Outcome;
    /// Gives the result to the caller: what `run` kept, or `failed` if the transaction came to nothing.
    fn answer(self: Box<Self>, failed: Option<BufferError>);
}

enum Outcome {
    Done,
    /// Refused before anything was changed: the group goes on.
    Refused,
    Failed,
}

struct Work<T, F> {
    action: F,
    bytes: u64,
    result: Option<Result<T, BufferError>>,
    caller: oneshot::Sender<Result<T, BufferError>>,
}

impl<T, F> Write for Work<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, BufferError> + Send,
{
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn run(&mut self, connection: &Connection) -> Outcome {
        let result = (self.action)(connection);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(BufferError::Full { .. }) => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, failed: Option<BufferError>) {
        let result = match (failed, self.result) {
            // What the work itself says is more exact than that its transaction failed.
            (_, Some(Err(error))) | (Some(error), _) => Err(error),
            (None, Some(result)) => result,
            (None, None) => Err(BufferError::Stopped),
        };
        // A caller that is gone does not need the answer.
        let _ = self.caller.send(result);
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, counters: Arc<Counters>) -> Result<Self, BufferError> {
        let (queue, receiver) = mpsc::channel();
        let mut group_commit = GroupCommit { connection, counters, receiver, wal_bytes: 0 };
        let thread = thread::Builder::new()
            .name("buffer-writer".to_owned())
            .spawn(move || group_commit.serve())
            .map_err(BufferError::Spool)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn write<T, F>(&self, bytes: u64, action: F) -> Result<T, BufferError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, BufferError> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let work = Box::new(Work { action, bytes, result: None, caller });
        let queue = self.queue.as_ref().ok_or(BufferError::Stopped)?;
        queue.send(work).map_err(|_| BufferError::Stopped)?;
        answer.await.map_err(|_| BufferError::Stopped)?
    }
}

impl Drop for Writer {
    /// Waits until all that was handed in is committed, and the database is closed.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct GroupCommit {
    connection: Connection,
    counters: Arc<Counters>,
    receiver: Receiver<Box<dyn Write>>,
    /// Estimate of what a checkpoint would move.
    wal_bytes: u64,
}

impl GroupCommit {
    fn serve(&mut self) {
        loop {
            match self.receiver.recv_timeout(IDLE_TIME) {
                Ok(first) => {
                    let group = self.gather(first);
                    self.wal_bytes += group.iter().map(|w| w.bytes() + WRITE_OVERHEAD_BYTES).sum::<u64>();
                    self.commit(group);
                    if self.wal_bytes >= WAL_BYTES_MAX {
                        self.checkpoint();
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.wal_bytes >= WAL_BYTES_WORTH_MOVING => {
                    self.checkpoint();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// All that waits, and for a moment what is expected: while half of the mails on their way are committed, the other
    /// half arrives. One session alone never waits.
    fn gather(&self, first: Box<dyn Write>) -> Vec<Box<dyn Write>> {
        let deadline = Instant::now() + GATHER_TIME_MAX;
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES_MAX && group.len() < GROUP_WRITES_MAX {
            let next = if group.len() < self.counters.expected().div_ceil(2) {
                let wait = deadline.saturating_duration_since(Instant::now());
                self.receiver.recv_timeout(wait).ok()
            } else {
                self.receiver.try_recv().ok()
            };
            let Some(next) = next else { break };
            bytes += next.bytes();
            group.push(next);
        }
        group
    }

    /// One transaction for all; if it fails, one for each, so that nobody suffers from another's mail.
    fn commit(&self, mut group: Vec<Box<dyn Write>>) {
        let Err(error) = self.transaction(&mut group) else {
            return group.into_iter().for_each(|write| write.answer(None));
        };
        if group.len() == 1 {
            let mut failed = Some(error.into_error());
            return group.into_iter().for_each(|write| write.answer(failed.take()));
        }
        for write in group {
            let mut alone = [write];
            let failed = self.transaction(&mut alone).err().map(Failure::into_error);
            let [write] = alone;
            write.answer(failed);
        }
    }

    fn transaction(&self, group: &mut [Box<dyn Write>]) -> Result<(), Failure> {
        let outcome = self.begin_and_commit(group);
        if outcome.is_err() && !self.connection.is_autocommit() {
            // SQLite has rolled back by itself if this fails.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        outcome
    }

    fn begin_and_commit(&self, group: &mut [Box<dyn Write>]) -> Result<(), Failure> {
        self.connection.execute_batch("BEGIN IMMEDIATE").doing("begin a transaction")?;
        for write in group {
            if matches!(write.run(&self.connection), Outcome::Failed) {
                return Err(Failure::OfOneWrite);
            }
        }
        let bytes = buffered_bytes(&self.connection)?;
        self.connection.execute_batch("COMMIT").doing("commit")?;
        self.counters.set_bytes(bytes);
        Ok(())
    }

    /// Nothing is lost if it fails: the WAL keeps what was committed, and the next one tries again.
    fn checkpoint(&mut self) {
        self.wal_bytes = 0;
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(%error, "moving the WAL into buffer.db fails; it grows until this works");
        }
    }
}

enum Failure {
    /// The write itself holds the error.
    OfOneWrite,
    OfTransaction(BufferError),
}

impl From<BufferError> for Failure {
    fn from(error: BufferError) -> Self {
        Self::OfTransaction(error)
    }
}

impl Failure {
    fn into_error(self) -> BufferError {
        match self {
            Self::OfOneWrite => BufferError::Stopped,
            Self::OfTransaction(error) => error,
        }
    }
}
