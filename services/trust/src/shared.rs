use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use openarchive_domain::Clock;
use openarchive_ledger::origin::{LogId, Origin};
use openarchive_objects::ObjectStore;
use sqlx::PgPool;
use tokio::sync::watch;

use crate::{
    agents_ca::AgentsCa, custody::Custody, keys::Keys, log_state::LogStates, sequencer::Sequencing,
    trust::CheckpointIntervals,
};

/// Furthest that this machine's clock may be off the database's while leaves are stamped.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(120);

/// What sequencer, publisher and server of one archive have in common.
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) keys: Keys,
    pub(crate) custody: Custody,
    /// `None`: agents' certificates are issued elsewhere.
    pub(crate) agents_ca: Option<Arc<AgentsCa>>,
    pub(crate) domain: String,
    pub(crate) archive: String,
    pub(crate) intervals: CheckpointIntervals,
    pub(crate) proof_wait: Duration,
    pub(crate) stalled_after: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) logs: LogStates,
    /// Turns true when the service is to end.
    pub(crate) stop: watch::Sender<bool>,
    /// Turns true when the process is about to stop: who waits for a checkpoint then waits for no interval.
    pub(crate) hurry: watch::Sender<bool>,
    pub(crate) sequencing: watch::Sender<Sequencing>,
    /// How far this machine's clock was ahead of the database's when last compared.
    pub(crate) clock_difference_millis: AtomicI64,
}

impl Shared {
    pub(crate) fn origin(&self, log: LogId) -> Origin {
        Origin::new(&self.domain, &self.archive, log)
            .expect("domain and archive were checked with the longest log at the start")
    }
}
