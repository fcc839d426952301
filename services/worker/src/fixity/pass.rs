use std::time::Duration;

use openarchive_domain::Timestamp;
use openarchive_proto::storage::v1::PackSummary;
use openarchive_telemetry::metrics;
use serde::{Deserialize, Serialize};

use super::Seen;

/// Times that storage is asked to read one pack before the pass goes on without it.
pub(super) const TRIES_MAX: u32 = 5;

/// Where a pass stands, and what the one before saw: the payload of its job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pass {
    /// Milliseconds since 1970; none between two passes.
    pub(super) begun_at: Option<i64>,
    /// Packs up to this id were read; empty at first.
    pub(super) after: String,
    /// Times that storage answered, but did not read the pack behind `after`.
    pub(super) tries: u32,
    pub(super) packs: u64,
    pub(super) bytes: u64,
    /// Damaged, or not to be checked.
    pub(super) damaged: u64,
    /// When the last whole pass ended, in milliseconds since 1970.
    pub(super) last_ended_at: Option<i64>,
    pub(super) last_packs: u64,
    pub(super) last_bytes: u64,
    pub(super) last_damaged: u64,
}

impl Pass {
    /// A payload that cannot be read, of another version, begins anew.
    pub(super) fn of(payload: &serde_json::Value) -> Self {
        Self::deserialize(payload).unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        // Numbers, strings and nothing else.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Begins a pass, unless one is under way.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.begun_at.get_or_insert(now.as_millis());
    }

    /// Counts that storage did not read the next pack. Whether it is asked again before the pass goes on.
    pub(super) fn may_try_again(&mut self) -> bool {
        self.tries = self.tries.saturating_add(1);
        self.tries < TRIES_MAX
    }

    pub(super) fn note(&mut self, pack: &PackSummary, seen: &Seen) {
        self.after.clone_from(&pack.pack_id);
        self.tries = 0;
        if *seen == Seen::Gone {
            return;
        }
        self.packs += 1;
        self.bytes += pack.length;
        self.damaged += u64::from(*seen != Seen::Whole);
    }

    /// The next one begins an interval after this one began, at once if this one took longer. Answers in how long.
    pub(super) fn end(&mut self, now: Timestamp, interval: Duration) -> Duration {
        let taken = now.as_millis().saturating_sub(self.begun_at.unwrap_or(now.as_millis()));
        let taken = Duration::from_millis(taken.max(0).unsigned_abs());
        *self = Self {
            last_ended_at: Some(now.as_millis()),
            last_packs: self.packs,
            last_bytes: self.bytes,
            last_damaged: self.damaged,
            ..Self::default()
        };
        interval.saturating_sub(taken)
    }

    pub(super) fn show(&self) {
        metrics::FIXITY_PASS_TIME.set([], self.last_ended_at.unwrap_or(0) as f64 / 1000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn pack(id: &str, length: u64) -> PackSummary {
        PackSummary { pack_id: id.to_owned(), tenant: "acme".to_owned(), length }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_pass_counts_what_it_saw_and_hands_it_to_the_next_one() {
        let mut pass = Pass::default();
        pass.begin(at(1_000));
        pass.begin(at(9_000));
        pass.note(&pack("a", 10), &Seen::Whole);
        pass.note(&pack("b", 20), &Seen::Damaged(vec!["it is".to_owned()]));
        pass.note(&pack("c", 40), &Seen::Unchecked("it cannot be".to_owned()));
        pass.note(&pack("d", 80), &Seen::Gone);
        let read = Pass::of(&pass.to_json());
        assert_eq!(read, pass);
        assert_eq!((read.begun_at, read.after.as_str()), (Some(1_000), "d"));
        assert_eq!((read.packs, read.bytes, read.damaged), (3, 70, 2));

        assert_eq!(pass.end(at(61_000), DAY), DAY.checked_sub(Duration::from_secs(60)).unwrap_or_default());
        assert_eq!((pass.last_packs, pass.last_bytes, pass.last_damaged), (3, 70, 2));
        assert_eq!((pass.last_ended_at, pass.begun_at, pass.after.as_str()), (Some(61_000), None, ""));
    }

    #[test]
    fn a_pack_is_tried_so_often_in_whichever_process_and_the_next_one_as_often_again() {
        let mut pass = Pass::default();
        for id in ["a", "b"] {
            for _ in 1..TRIES_MAX {
                assert!(pass.may_try_again());
                pass = Pass::of(&pass.to_json());
            }
            assert!(!pass.may_try_again());
            pass.note(&pack(id, 10), &Seen::Unchecked("it could not be read".to_owned()));
        }
        assert_eq!((pass.after.as_str(), pass.packs, pass.damaged, pass.tries), ("b", 2, 2, 0));
    }

    #[test]
    fn a_pass_that_took_longer_than_its_interval_is_followed_at_once() {
        let mut pass = Pass::default();
        pass.begin(at(0));
        assert_eq!(pass.end(at(86_400_001), DAY), Duration::ZERO);
        // A clock that was set back meanwhile is no reason to wait longer.
        pass.begin(at(5_000));
        assert_eq!(pass.end(at(1_000), DAY), DAY);
    }

    #[test]
    fn a_payload_of_another_version_begins_anew() {
        for payload in [serde_json::json!({ "after": 7 }), serde_json::Value::Null, serde_json::json!("x")] {
            assert_eq!(Pass::of(&payload), Pass::default());
        }
    }
}
