//! How often something may happen, without a list of when it did.

use std::time::Duration;

use tokio::time::Instant;

/// The highest rate that can be configured; who wants more sets none. Up to here the arithmetic in nanoseconds is exact.
pub const RATE_PER_MINUTE_MAX: u32 = 100_000;

const MINUTE: Duration = Duration::from_secs(60);

/// A bucket that holds a minute's number and fills evenly (the generic cell rate algorithm).
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    interval: Duration,
    /// When the bucket will be full again.
    full_at: Option<Instant>,
}

impl Rate {
    /// `per_minute`: 1 to [`RATE_PER_MINUTE_MAX`].
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { interval: MINUTE / per_minute.clamp(1, RATE_PER_MINUTE_MAX), full_at: None }
    }

    /// Takes one if there is one. What is refused costs nothing.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.interval;
        let fits = full_at - now <= MINUTE;
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_number_is_taken_at_once_and_then_one_each_interval() {
        for per_minute in [1, 7, 60, 999, RATE_PER_MINUTE_MAX] {
            let (mut rate, start) = (Rate::new(per_minute), Instant::now());
            for n in 0..per_minute {
                assert!(rate.take(start), "{n} of {per_minute}");
            }
            assert!(!rate.take(start), "one more than {per_minute}");
            let interval = MINUTE / per_minute;
            assert!(!rate.take(start + interval / 2));
            assert!(rate.take(start + interval));
            assert!(!rate.take(start + interval));
            // A long rest fills the bucket and no more.
            let later = start + 10 * MINUTE;
            assert!((0..per_minute).all(|_| rate.take(later)) && !rate.take(later));
        }
    }
}
