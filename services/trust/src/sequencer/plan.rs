use std::collections::BTreeMap;

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::leaf::stamp;
use serde_json::Value;

use super::AppendError;

/// What a caller wants appended. The key belongs to the body (`leaf_key`).
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Digest,
    pub(crate) expected_previous: Option<u64>,
    /// Without `time`; fits into a leaf.
    pub(crate) body: Value,
}

/// A leaf as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLeaf {
    pub(crate) index: u64,
    pub(crate) body: Vec<u8>,
}

/// A leaf that a group adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLeaf {
    pub(crate) key: Digest,
    pub(crate) body: Vec<u8>,
}

/// What one group does to one log. Pure: nothing here has happened yet.
pub(crate) struct LogPlan {
    next_index: u64,
    time: Timestamp,
    /// Leaves of the log under keys of the group, whether they stand already or come with it.
    by_key: BTreeMap<Digest, StoredLeaf>,
    new: Vec<NewLeaf>,
}

impl LogPlan {
    /// `standing`: the leaves that the log already has under keys of the group.
    pub(crate) const fn new(
        next_index: u64,
        time: Timestamp,
        standing: BTreeMap<Digest, StoredLeaf>,
    ) -> Self {
        Self { next_index, time, by_key: standing, new: Vec::new() }
    }

    /// Takes all entries of a request, or none. A key that stands, or came earlier in the group, answers that leaf.
    pub(crate) fn accept(&mut self, entries: Vec<Entry>) -> Result<Vec<StoredLeaf>, AppendError> {
        let before = self.new.len();
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.accept_entry(entry) {
                Ok(leaf) => answers.push(leaf),
                Err(error) => {
                    for undone in self.new.drain(before..) {
                        self.by_key.remove(&undone.key);
                    }
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    fn accept_entry(&mut self, entry: Entry) -> Result<StoredLeaf, AppendError> {
        if let Some(standing) = self.by_key.get(&entry.key) {
            return Ok(standing.clone());
        }
        let index = self.next_index + self.new.len() as u64;
        if let Some(expected) = entry.expected_previous
            && index.checked_sub(1) != Some(expected)
        {
            return Err(AppendError::PreviousMoved { expected });
        }
        let body = stamp(entry.body, self.time)?;
        let leaf = StoredLeaf { index, body: body.clone() };
        self.by_key.insert(entry.key, leaf.clone());
        self.new.push(NewLeaf { key: entry.key, body });
        Ok(leaf)
    }

    pub(crate) fn into_new(self) -> Vec<NewLeaf> {
        self.new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn entry(name: &str) -> Entry {
        Entry { key: Digest::of(name.as_bytes()), expected_previous: None, body: json!({ "name": name }) }
    }

    fn indices(answers: &[StoredLeaf]) -> Vec<u64> {
        answers.iter().map(|leaf| leaf.index).collect()
    }

    #[test]
    fn the_same_key_is_the_same_leaf_whether_it_stands_or_came_in_the_group() {
        let standing = StoredLeaf { index: 3, body: b"as it was".to_vec() };
        let mut plan = LogPlan::new(10, TIME, BTreeMap::from([(Digest::of(b"old"), standing.clone())]));
        let answers = plan.accept(vec![entry("a"), entry("old"), entry("b"), entry("a")]).unwrap();
        assert_eq!(indices(&answers), [10, 3, 11, 10]);
        assert_eq!(answers[1], standing);
        assert_eq!(answers[0].body, br#"{"name":"a","time":"2023-11-14T22:13:20.000Z"}"#);
        assert_eq!(indices(&plan.accept(vec![entry("b"), entry("c")]).unwrap()), [11, 12]);
        assert_eq!(plan.into_new().len(), 3);
    }

    #[test]
    fn a_request_is_taken_whole_or_not_at_all() {
        let mut plan = LogPlan::new(1, TIME, BTreeMap::new());
        let wrong = Entry { expected_previous: Some(7), ..entry("b") };
        let refused = plan.accept(vec![entry("a"), wrong]);
        assert!(matches!(refused, Err(AppendError::PreviousMoved { expected: 7 })));
        // Nothing of it is left: `a` gets an index of its own.
        assert_eq!(indices(&plan.accept(vec![entry("c"), entry("a")]).unwrap()), [1, 2]);
        assert_eq!(plan.into_new().len(), 2);
    }

    #[test]
    fn the_expected_previous_leaf_counts_what_came_in_the_group() {
        let mut plan = LogPlan::new(0, TIME, BTreeMap::new());
        let after = |name, previous| Entry { expected_previous: Some(previous), ..entry(name) };
        assert!(plan.accept(vec![after("a", 0)]).is_err());
        assert_eq!(indices(&plan.accept(vec![entry("a"), after("b", 0), after("c", 1)]).unwrap()), [0, 1, 2]);
        // A repeated call is answered although the log has grown since.
        assert_eq!(indices(&plan.accept(vec![after("b", 0)]).unwrap()), [1]);
    }
}
