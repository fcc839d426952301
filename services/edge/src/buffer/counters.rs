//! Figures that are read for every mail and therefore kept outside the database as well.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use openarchive_domain::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;

use super::{Buffer, BufferError, error::Doing};

/// As of this process's last commit. Another process's import may have added to it; its own commits see the truth.
#[derive(Debug)]
pub(super) struct Counters {
    bytes: AtomicU64,
    /// Mails that sessions are about to hand in, or have handed in and wait for.
    expected: AtomicUsize,
    arrived: Notify,
}

/// The buffer in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub messages: u64,
    /// Of the blobs, each once.
    pub bytes: u64,
    pub agent_epoch: u64,
    /// The highest seq given out in this epoch; 0 when none.
    pub highest_seq: u64,
    pub oldest_pending: Option<Timestamp>,
}

/// While it lives, the writer may wait a moment for this mail before it commits a group without it.
#[derive(Debug)]
pub struct Expected(Arc<Counters>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(super) fn read(connection: &Connection) -> Result<Self, BufferError> {
        let bytes = buffered_bytes(connection)?;
        Ok(Self { bytes: bytes.into(), expected: 0.into(), arrived: Notify::new() })
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn expected(&self) -> usize {
        self.expected.load(Ordering::Relaxed)
    }

    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }
}

/// Inside a transaction this is the truth, whatever other processes do.
pub(super) fn buffered_bytes(connection: &Connection) -> Result<u64, BufferError> {
    connection
        .prepare_cached("SELECT bytes FROM meta")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .map(|bytes| bytes as u64)
        .doing("read how full the buffer is")
}

impl Buffer {
    /// Whether mail is taken now. A hint: [`super::Buffer::store`] decides.
    pub fn has_room(&self) -> bool {
        self.0.counters.bytes.load(Ordering::Relaxed) < self.0.high_water_bytes
    }

    /// Says that a mail is on its way; hold the answer until it has been stored or has failed.
    pub fn expect_mail(&self) -> Expected {
        self.0.counters.expected.fetch_add(1, Ordering::Relaxed);
        Expected(Arc::clone(&self.0.counters))
    }

    /// Returns at once if mail arrived since the last call, otherwise when it does. For one waiter. Cancel-safe.
    pub async fn wait_for_arrival(&self) {
        self.0.counters.arrived.notified().await;
    }

    pub async fn stats(&self) -> Result<Stats, BufferError> {
        self.read("read the figures", |connection| {
            let oldest = connection
                .query_row("SELECT occurred_at FROM message ORDER BY id LIMIT 1", [], |row| row.get(0))
                .optional()?;
            let sql = "SELECT messages, bytes, agent_epoch, next_seq FROM meta";
            connection.query_row(sql, [], |row| {
                Ok(Stats {
                    messages: row.get::<_, i64>(0)? as u64,
                    bytes: row.get::<_, i64>(1)? as u64,
                    agent_epoch: row.get::<_, i64>(2)? as u64,
                    highest_seq: row.get::<_, i64>(3)? as u64 - 1,
                    oldest_pending: oldest.map(Timestamp::from_millis),
                })
            })
        })
        .await
    }
}
