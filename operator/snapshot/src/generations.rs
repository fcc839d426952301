use std::fmt;

use serde::{Deserialize, Serialize};

/// Generations of an object from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationRange {
    pub first: u64,
    pub last: u64,
}

impl fmt::Display for GenerationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// One object's life and how far it had come: its uid and its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage<'a> {
    pub(crate) uid: &'a str,
    pub(crate) generation: u64,
}

/// The generations that were never applied between two snapshots, or before the first of an object; `None` if the
/// generation went back. Ranges, so that a loop that writes a million generations while nobody applies them does not
/// make a snapshot that is too large.
pub(crate) fn skipped(before: Option<Stage<'_>>, now: Stage<'_>) -> Option<Vec<GenerationRange>> {
    // A new uid is a new object: its generations count from 1.
    let applied = before.filter(|before| before.uid == now.uid).map_or(0, |before| before.generation);
    if now.generation < applied {
        return None;
    }
    let range = GenerationRange { first: applied + 1, last: now.generation.saturating_sub(1) };
    Some(if range.first <= range.last { vec![range] } else { Vec::new() })
}

/// Ranges as people write them; `none` if there are none.
pub(crate) fn listed(ranges: &[GenerationRange]) -> String {
    if ranges.is_empty() {
        return "none".to_owned();
    }
    ranges.iter().map(GenerationRange::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_generations_are_those_between_two_snapshots_of_one_uid() {
        let stage = |uid, generation| Stage { uid, generation };
        let check = |before: Option<Stage<'_>>, now, expected: Option<&str>| {
            assert_eq!(
                skipped(before, now).map(|ranges| listed(&ranges)).as_deref(),
                expected,
                "{before:?} {now:?}"
            );
        };
        check(None, stage("a", 1), Some("none"));
        check(None, stage("a", 4), Some("1-3"));
        check(Some(stage("a", 4)), stage("a", 5), Some("none"));
        check(Some(stage("a", 4)), stage("a", 6), Some("5"));
        check(Some(stage("a", 4)), stage("a", 9), Some("5-8"));
        // The same generation applied by another version of the operator.
        check(Some(stage("a", 4)), stage("a", 4), Some("none"));
        check(Some(stage("a", 4)), stage("a", 3), None);
        check(Some(stage("a", 4)), stage("b", 2), Some("1"));
    }
}
