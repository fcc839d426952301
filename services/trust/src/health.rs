use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    log_state::LogName,
    sequencer::Sequencing,
    shared::{CLOCK_DIFFERENCE_MAX, Shared},
};

/// How the trust service is. Cheap to clone; outlives a shutdown, which it then reports.
#[derive(Clone)]
pub struct TrustHealth(Arc<Shared>);

/// A moment's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be appended, if so; for people.
    pub stopped: Option<String>,
    pub logs: Vec<LogHealth>,
}

/// One log of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHealth {
    pub log: LogName,
    pub durable_leaves: u64,
    pub published_leaves: u64,
    /// How long the oldest leaf without a checkpoint has been waiting.
    pub oldest_unpublished_age: Option<Duration>,
    /// Why the latest attempt to publish failed, if it did; for people.
    pub failure: Option<String>,
}

impl TrustHealth {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub fn now(&self) -> Health {
        let log = |state: Arc<crate::log_state::LogState>| LogHealth {
            log: state.name.clone(),
            durable_leaves: *state.durable.borrow(),
            published_leaves: *state.published.borrow(),
            oldest_unpublished_age: state.oldest_unpublished_age(),
            failure: state.failure(),
        };
        Health { stopped: self.stopped(), logs: self.0.logs.all().into_iter().map(log).collect() }
    }

    /// How long the oldest leaf of any log of this stream has been waiting for a checkpoint.
    pub fn oldest_unpublished_age(&self, stream: &str) -> Option<Duration> {
        let logs = self.0.logs.all();
        let of_stream = logs.iter().filter(|state| state.name.stream() == stream);
        of_stream.filter_map(|state| state.oldest_unpublished_age()).max()
    }

    fn stopped(&self) -> Option<String> {
        match &*self.0.sequencing.borrow() {
            Sequencing::Leading => {}
            Sequencing::Starting => return Some("it is starting".to_owned()),
            Sequencing::Stopped(why) => return Some(why.clone()),
        }
        let millis = self.0.clock_difference_millis.load(Ordering::Relaxed);
        let differs = Duration::from_millis(millis.unsigned_abs()) > CLOCK_DIFFERENCE_MAX;
        differs.then(|| format!("this machine's clock is {} s off the database's", millis / 1000))
    }
}
