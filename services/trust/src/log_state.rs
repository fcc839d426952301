//! What the sequencer, the publisher and the readers of one process know of each log, in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openarchive_domain::ParseError;
use openarchive_ledger::origin::{LogId, TenantOrArchive};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

/// Groups that were appended within this time count as one in [`Backlog`], so that it stays small while nothing is
/// published.
const BACKLOG_STEP: Duration = Duration::from_secs(1);

/// A log whichever its epoch: the current one is implied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    owner: TenantOrArchive,
    stream: String,
}

impl LogName {
    /// `owner`: a tenant or `_`. `stream`: a DNS label.
    pub fn parse(owner: &str, stream: &str) -> Result<Self, ParseError> {
        Ok(Self::of(&LogId::new(owner.parse()?, stream, 1)?))
    }

    pub fn of(log: &LogId) -> Self {
        Self { owner: log.owner().clone(), stream: log.stream().to_owned() }
    }

    pub const fn owner(&self) -> &TenantOrArchive {
        &self.owner
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    pub(crate) fn at_epoch(&self, epoch: u64) -> LogId {
        LogId::new(self.owner.clone(), &self.stream, epoch).expect("the stream was a DNS label before")
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.stream)
    }
}

/// One log. Sizes only ever grow.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) name: LogName,
    /// Leaves that are durable.
    pub(crate) durable: watch::Sender<u64>,
    /// Leaves that the latest published checkpoint covers.
    pub(crate) published: watch::Sender<u64>,
    /// Rung by whoever waits for a checkpoint.
    pub(crate) wanted: Notify,
    backlog: Mutex<Backlog>,
    failure: Mutex<Option<String>>,
}

impl LogState {
    fn new(name: LogName) -> Self {
        Self {
            name,
            durable: watch::Sender::new(0),
            published: watch::Sender::new(0),
            wanted: Notify::new(),
            backlog: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// The log has `size` durable leaves, the oldest of the new ones since `since`.
    pub(crate) fn grew(&self, size: u64, since: Instant) {
        lock(&self.backlog).grew(size, since);
        self.durable.send_if_modified(|durable| raise(durable, size));
    }

    /// A checkpoint of `size` leaves is published.
    pub(crate) fn covered(&self, size: u64) {
        lock(&self.backlog).covered(size);
        *lock(&self.failure) = None;
        self.published.send_if_modified(|published| raise(published, size));
    }

    /// How long the oldest leaf without a checkpoint has been waiting for one.
    pub(crate) fn oldest_unpublished_age(&self) -> Option<Duration> {
        lock(&self.backlog).oldest().map(|since| since.elapsed())
    }

    /// Why the latest attempt to publish failed.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    pub(crate) fn failed(&self, why: String) {
        *lock(&self.failure) = Some(why);
    }
}

fn raise(size: &mut u64, to: u64) -> bool {
    let grows = to > *size;
    *size = to.max(*size);
    grows
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Since when which leaves have been waiting for a checkpoint, oldest first.
#[derive(Debug, Default)]
struct Backlog {
    covered: u64,
    /// (size of the log after it, when its first leaf became durable)
    groups: VecDeque<(u64, Instant)>,
}

impl Backlog {
    fn grew(&mut self, size: u64, since: Instant) {
        match self.groups.back_mut() {
            _ if size <= self.covered => {}
            Some((end, first)) if since.saturating_duration_since(*first) < BACKLOG_STEP => {
                *end = size.max(*end);
            }
            _ => self.groups.push_back((size, since)),
        }
    }

    fn covered(&mut self, size: u64) {
        self.covered = size.max(self.covered);
        while self.groups.front().is_some_and(|(end, _)| *end <= self.covered) {
            self.groups.pop_front();
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.groups.front().map(|(_, since)| *since)
    }
}

/// All logs of the archive that this process has met. A new one is announced to the publisher.
#[derive(Debug)]
pub(crate) struct LogStates {
    logs: Mutex<BTreeMap<LogName, Arc<LogState>>>,
    announce: mpsc::UnboundedSender<Arc<LogState>>,
}

impl LogStates {
    pub(crate) const fn new(announce: mpsc::UnboundedSender<Arc<LogState>>) -> Self {
        Self { logs: Mutex::new(BTreeMap::new()), announce }
    }

    /// The state of a log, made if it is new.
    pub(crate) fn of(&self, name: &LogName) -> Arc<LogState> {
        let mut logs = lock(&self.logs);
        if let Some(state) = logs.get(name) {
            return state.clone();
        }
        let state = Arc::new(LogState::new(name.clone()));
        logs.insert(name.clone(), state.clone());
        // Fails only while the process ends and nobody publishes any more.
        let _ = self.announce.send(state.clone());
        state
    }

    pub(crate) fn get(&self, name: &LogName) -> Option<Arc<LogState>> {
        lock(&self.logs).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LogState>> {
        lock(&self.logs).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_waiting_leaf_is_remembered_until_a_checkpoint_covers_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut backlog = Backlog::default();
        assert_eq!(backlog.oldest(), None);
        backlog.grew(10, at(0));
        backlog.grew(20, at(5));
        backlog.covered(9);
        assert_eq!(backlog.oldest(), Some(at(0)));
        backlog.covered(10);
        assert_eq!(backlog.oldest(), Some(at(5)));
        backlog.covered(25);
        assert_eq!(backlog.oldest(), None);
        // Published already when its appender reports it.
        backlog.grew(25, at(6));
        assert_eq!(backlog.oldest(), None);
    }

    #[test]
    fn groups_within_a_second_count_from_the_first_of_them() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        for millis in 0..5_000 {
            backlog.grew(millis + 1, start + Duration::from_millis(millis));
        }
        assert_eq!(backlog.groups.len(), 5);
        backlog.covered(999);
        assert_eq!(backlog.oldest(), Some(start));
        backlog.covered(1000);
        assert_eq!(backlog.oldest(), Some(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_log_name_is_a_tenant_or_the_archive_and_a_label() {
        assert_eq!(LogName::parse("acme", "evidence").unwrap().to_string(), "acme/evidence");
        assert_eq!(LogName::parse("_", "config").unwrap().at_epoch(2).to_string(), "_/config/2");
        for (owner, stream) in [("", "evidence"), ("acme", ""), ("Acme", "evidence"), ("acme", "_")] {
            assert!(LogName::parse(owner, stream).is_err(), "{owner}/{stream}");
        }
    }
}
