//! Grouping: one open pack for each (tenant, class), stored when it is full or when nothing came for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openarchive_telemetry::metrics;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, warn};

use crate::{
    StorageError,
    blob_id::{BlobId, Group},
    pack_flush::PackFlush,
    sealing::SealedBlob,
};

/// An open pack is stored once its bodies have so many bytes. A larger blob makes a larger pack.
pub const PACK_BYTES_TARGET: u64 = 16 * 1024 * 1024;
/// An open pack is stored once it has so many blobs: with the footer's, their keys are one call to trust.
pub const PACK_BLOBS_MAX: usize = 10_000;
/// Ciphertext in memory of all packs under way, in KiB; who brings more waits. A spool file counts as 1 MiB.
const MEMORY_KIB_MAX: usize = 64 * 1024;
/// However much keeps coming, an open pack waits at most so many times the linger.
const LINGERS_MAX: u32 = 10;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct OpenPacks(Arc<Inner>);

struct Inner {
    flush: PackFlush,
    linger: Duration,
    memory: Arc<Semaphore>,
    state: Mutex<State>,
    flushes: TaskTracker,
}

#[derive(Default)]
struct State {
    open: HashMap<Group, OpenPack>,
    /// Blobs in open packs and in packs that are being stored.
    in_flight: HashMap<(Group, BlobId), Ticket>,
    next_number: u64,
    stopping: bool,
}

struct OpenPack {
    /// Tells it from a later pack of the same group.
    number: u64,
    blobs: Vec<SealedBlob>,
    bytes: u64,
    outcome: watch::Sender<Option<Outcome>>,
    opened_at: Instant,
    last_at: Instant,
}

/// For each blob of the pack whether its copy is the catalogued one.
type Outcome = Result<Arc<Vec<bool>>, Arc<StorageError>>;

/// A blob's place in a pack that is not durable yet.
#[derive(Clone)]
pub(crate) struct Ticket {
    outcome: watch::Receiver<Option<Outcome>>,
    index: usize,
}

impl Ticket {
    /// Waits until the pack is durable, or was given up. Whether this copy was catalogued: `false` means that another
    /// one, durable too, was there first.
    pub(crate) async fn wait(mut self) -> Result<bool, StorageError> {
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| StorageError::Stopping)?;
        match outcome.as_ref() {
            Some(Ok(catalogued)) => Ok(catalogued.get(self.index).copied().unwrap_or(false)),
            Some(Err(cause)) => Err(StorageError::PackNotStored(cause.clone())),
            None => Err(StorageError::Stopping),
        }
    }
}

/// What became of a blob that was brought.
pub(crate) enum Added {
    Joined(Ticket),
    /// The same blob is under way already.
    SameUnderWay(Ticket),
}

impl OpenPacks {
    pub(crate) fn new(flush: PackFlush, linger: Duration) -> Self {
        Self(Arc::new(Inner {
            flush,
            linger,
            memory: Arc::new(Semaphore::new(MEMORY_KIB_MAX)),
            state: Mutex::default(),
            flushes: TaskTracker::new(),
        }))
    }

    /// The same blob, if it is on its way into a pack.
    pub(crate) fn under_way(&self, group: &Group, blob: BlobId) -> Option<Ticket> {
        self.0.state().in_flight.get(&(group.clone(), blob)).cloned()
    }

    /// Adds sealed blobs to the open pack of their group; waits while too much is under way. A blob is stored even
    /// if its caller goes away afterwards.
    pub(crate) async fn add(
        &self,
        group: &Group,
        mut blobs: Vec<SealedBlob>,
    ) -> Result<Vec<Added>, StorageError> {
        let kib = |blob: &SealedBlob| blob.body.share_bytes().div_ceil(1024);
        // All at once: whoever waits here holds nothing that somebody else waits for.
        let wanted = blobs.iter().map(kib).sum::<usize>() as u32;
        let memory = self.0.memory.clone().acquire_many_owned(wanted).await;
        let mut memory = memory.map_err(|_| StorageError::Stopping)?;
        for blob in &mut blobs {
            blob.memory = memory.split(kib(blob));
        }
        let mut added = Vec::with_capacity(blobs.len());
        let mut state = self.0.state();
        for blob in blobs {
            added.push(self.add_one(&mut state, group, blob)?);
        }
        Ok(added)
    }

    fn add_one(&self, state: &mut State, group: &Group, blob: SealedBlob) -> Result<Added, StorageError> {
        if state.stopping {
            return Err(StorageError::Stopping);
        }
        let key = (group.clone(), blob.id);
        if let Some(ticket) = state.in_flight.get(&key) {
            return Ok(Added::SameUnderWay(ticket.clone()));
        }
        let now = Instant::now();
        if !state.open.contains_key(group) {
            let number = state.next_number;
            state.next_number += 1;
            state.open.insert(group.clone(), OpenPack::new(number, now));
            // In the trace of whoever opened the pack.
            tokio::spawn(self.clone().store_after_linger(group.clone(), number).in_current_span());
        }
        let pack = state.open.get_mut(group).expect("the group's pack was opened above");
        let ticket = Ticket { outcome: pack.outcome.subscribe(), index: pack.blobs.len() };
        pack.bytes += blob.body.length();
        pack.blobs.push(blob);
        pack.last_at = now;
        let full = pack.bytes >= PACK_BYTES_TARGET || pack.blobs.len() >= PACK_BLOBS_MAX;
        state.in_flight.insert(key, ticket.clone());
        if full {
            self.store(state, group);
        }
        Ok(Added::Joined(ticket))
    }

    async fn store_after_linger(self, group: Group, number: u64) {
        loop {
            let until = {
                let mut state = self.0.state();
                let Some(pack) = state.open.get(&group).filter(|pack| pack.number == number) else { return };
                let until = (pack.last_at + self.0.linger).min(pack.opened_at + self.0.linger * LINGERS_MAX);
                if until <= Instant::now() {
                    self.store(&mut state, &group);
                    return;
                }
                until
            };
            tokio::time::sleep_until(until).await;
        }
    }

    /// Closes the group's open pack and stores it in a task of its own.
    fn store(&self, state: &mut State, group: &Group) {
        let Some(pack) = state.open.remove(group) else { return };
        let (packs, group) = (self.clone(), group.clone());
        let storing = async move {
            let under_way = UnderWay {
                packs: &packs,
                keys: pack.blobs.iter().map(|blob| (group.clone(), blob.id)).collect(),
            };
            let outcome = packs.0.flush.store(group.clone(), pack.blobs).await;
            if let Err(error) = &outcome {
                warn!(tenant = %group.scope, class = %group.class, error = error.chain(), "a pack is not stored");
            }
            drop(under_way);
            metrics::STORAGE_PACK_FLUSHES.inc([if outcome.is_ok() { "done" } else { "failed" }]);
            pack.outcome.send_replace(Some(outcome.map(Arc::new).map_err(Arc::new)));
        };
        self.0.flushes.spawn(storing.in_current_span());
    }

    /// Stores what is open and waits until it is durable, or was given up. Whoever brings more is refused.
    pub(crate) async fn shutdown(&self) {
        {
            let mut state = self.0.state();
            state.stopping = true;
            let groups: Vec<Group> = state.open.keys().cloned().collect();
            for group in &groups {
                self.store(&mut state, group);
            }
        }
        self.0.flushes.close();
        self.0.flushes.wait().await;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenPack {
    fn new(number: u64, now: Instant) -> Self {
        let outcome = watch::Sender::new(None);
        Self { number, blobs: Vec::new(), bytes: 0, outcome, opened_at: now, last_at: now }
    }
}

/// Takes blobs out of `in_flight`, however their pack ends.
struct UnderWay<'a> {
    packs: &'a OpenPacks,
    keys: Vec<(Group, BlobId)>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.packs.0.state();
        for key in &self.keys {
            state.in_flight.remove(key);
        }
    }
}
