use std::collections::BTreeMap;

use openarchive_domain::Timestamp;
use openarchive_ledger::leaf::LeafError;

use crate::{finding::Finding, leaf::ConfigLeaf, subject::Subject};

/// A leaf as the trust service lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLeaf {
    pub index: u64,
    /// The stored bytes: what is hashed.
    pub body: Vec<u8>,
}

/// An applied configuration as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub index: u64,
    /// When the sequencer appended the leaf.
    pub time: Timestamp,
    pub leaf: ConfigLeaf,
}

/// The `config` log of an archive, read from its leaf 0 on. It holds the configurations of all objects of the archive,
/// and leaves of other kinds, which are passed over: kinds are an open registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigLog {
    recorded: BTreeMap<Subject, Vec<Recorded>>,
    next_index: u64,
    findings: Vec<Finding>,
}

impl ConfigLog {
    pub fn read<'a>(leaves: impl IntoIterator<Item = &'a LogLeaf>) -> Self {
        let mut log = Self::default();
        for LogLeaf { index, body } in leaves {
            if *index != log.next_index {
                log.findings.push(Finding::LogGap { expected: log.next_index, found: *index });
            }
            log.next_index = index + 1;
            match ConfigLeaf::parse(body) {
                Ok(stamped) => {
                    let recorded = Recorded { index: *index, time: stamped.time, leaf: stamped.leaf };
                    log.recorded.entry(recorded.leaf.subject.clone()).or_default().push(recorded);
                }
                Err(LeafError::OtherKind { .. }) => {}
                Err(reason) => log.findings.push(Finding::LeafUnreadable { index: *index, reason }),
            }
        }
        log
    }

    /// The index that the next leaf gets, as far as this was read.
    pub const fn next_index(&self) -> u64 {
        self.next_index
    }

    /// What is wrong with the log whosever configuration is asked for.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What was recorded of one object, in the order of the log.
    pub fn of(&self, subject: &Subject) -> &[Recorded] {
        self.recorded.get(subject).map_or(&[], Vec::as_slice)
    }

    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.recorded.keys()
    }
}
