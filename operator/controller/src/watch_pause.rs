//! What a controller does between a watch that broke and the next look at its watches.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// A watch that breaks holds up all watches of its controller for so long. An API server that starts anew breaks all of them at
/// once: with pauses that grow, the operator would be deaf for minutes after it.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// The same pause each time.
pub(crate) struct WatchPause;

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_PAUSE)
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {}
}
