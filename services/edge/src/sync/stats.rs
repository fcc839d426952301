//! Sync in figures, since this process started.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use openarchive_domain::Timestamp;
use serde::Serialize;

/// What sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    #[default]
    Starting,
    /// All that can be sent is archived.
    Idle,
    Sending,
    /// The last try failed; it is repeated by itself.
    BackingOff,
    /// The core was caught at a lie: a person must look and clear the alarm.
    Halted,
}

/// A snapshot. Counted since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct SyncStats {
    pub state: SyncState,
    /// Mails offered; one that is offered again counts again.
    pub offered: u64,
    pub uploaded_blobs: u64,
    pub uploaded_bytes: u64,
    /// Blobs of offered mail that need not be uploaded: the archive has them, or another mail's upload brings them.
    pub skipped_blobs: u64,
    /// Mails with a receipt that holds, pruned from the buffer.
    pub committed: u64,
    /// Of those, mails whose bytes the archive had before.
    pub duplicates: u64,
    /// Calls and answers that failed.
    pub failures: u64,
    /// When the core last answered anything.
    #[serde(serialize_with = "as_text")]
    pub last_answer: Option<Timestamp>,
    /// Of the last failure, until something works again.
    pub last_failure: Option<String>,
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn as_text<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) offered: AtomicU64,
    pub(super) uploaded_blobs: AtomicU64,
    pub(super) uploaded_bytes: AtomicU64,
    pub(super) skipped_blobs: AtomicU64,
    pub(super) committed: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) failures: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    state: SyncState,
    last_answer: Option<Timestamp>,
    last_failure: Option<String>,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn set_state(&self, state: SyncState) {
        self.with(|now| now.state = state);
    }

    pub(super) fn answered(&self, at: Timestamp) {
        self.with(|now| {
            now.last_answer = Some(at);
            now.last_failure = None;
        });
    }

    pub(super) fn failed(&self, why: String) {
        add(&self.failures, 1);
        self.with(|now| now.last_failure = Some(why));
    }

    pub(super) fn snapshot(&self) -> SyncStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.with(|now| SyncStats {
            state: now.state,
            offered: read(&self.offered),
            uploaded_blobs: read(&self.uploaded_blobs),
            uploaded_bytes: read(&self.uploaded_bytes),
            skipped_blobs: read(&self.skipped_blobs),
            committed: read(&self.committed),
            duplicates: read(&self.duplicates),
            failures: read(&self.failures),
            last_answer: now.last_answer,
            last_failure: now.last_failure.clone(),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Now) -> T) -> T {
        work(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
