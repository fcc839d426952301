//! How long to wait after a failure.

use std::time::Duration;

/// Bounds of the wait between two tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Longest wait after the first failure.
    pub first: Duration,
    /// Longest wait after any failure.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_mins(5) }
    }
}

impl BackOff {
    /// After the `failures`-th failure in a row, from 1 on: between half of a span that doubles each time and all of
    /// it, so that many agents do not come back at the same moment. `random` is any number.
    pub(super) fn delay(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let span = self.first.saturating_mul(1 << doublings).min(self.max);
        let half = span / 2;
        let share = random as f64 / u64::MAX as f64;
        half + half.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_is_spread_over_its_upper_half() {
        let back_off = BackOff { first: Duration::from_secs(1), max: Duration::from_secs(300) };
        let check = |failures, span| {
            assert_eq!(back_off.delay(failures, u64::MAX), Duration::from_secs(span), "{failures}");
            assert_eq!(back_off.delay(failures, 0), Duration::from_secs(span) / 2, "{failures}");
        };
        check(1, 1);
        check(2, 2);
        check(9, 256);
        check(10, 300);
        check(u32::MAX, 300);
        let middle = back_off.delay(10, u64::MAX / 2);
        assert!(middle > Duration::from_secs(220) && middle < Duration::from_secs(230), "{middle:?}");
    }
}
