//! The history of one object's configuration: ControllerRevisions held against the ledger.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::Digest;

use crate::{
    finding::Finding,
    leaf::ConfigLeaf,
    links::{check_generations, check_recorded},
    log::{ConfigLog, Recorded},
    revision::{Revision, RevisionError, ordinal_in_name, revision_name},
    revisions::{Broken, Revisions},
    snapshot::Snapshot,
    subject::Subject,
};

/// One recorded configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its place in the chain, from 1.
    pub ordinal: u32,
    pub recorded: Recorded,
    /// What the ledger's digest is of; none if the cluster no longer has it.
    pub snapshot: Option<Snapshot>,
}

/// What ledger and cluster together say of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub subject: Subject,
    /// In the order of the ledger.
    pub recorded: Vec<Link>,
    /// Kept in the cluster and not yet on the ledger, each following the one before.
    pub pending: Vec<Revision>,
    /// Empty if and only if nothing is wrong; those of the log as a whole come first.
    pub findings: Vec<Finding>,
}

/// Every object that the cluster or the ledger knows a configuration of.
pub fn subjects(revisions: &Revisions, log: &ConfigLog) -> BTreeSet<Subject> {
    log.subjects().cloned().chain(revisions.subjects()).collect()
}

impl Chain {
    /// Holds every leaf of `subject` against its revision. The ledger decides what was applied; revisions that it does
    /// not have may stand at the end only, as pending. Not to be seen from here: a pending revision that was deleted
    /// while nothing followed it.
    pub fn verify(subject: &Subject, revisions: &Revisions, log: &ConfigLog) -> Self {
        let recorded = log.of(subject);
        let mut findings = log.findings().to_vec();
        let mut kept = Kept::of(subject, revisions);
        let mut links = Vec::with_capacity(recorded.len());
        let mut lost = Vec::new();
        for (ordinal, recorded) in (1..).zip(recorded) {
            let revision = kept.take(&recorded.leaf.sha256, ordinal, &mut findings);
            if revision.is_none() {
                lost.push((ordinal, recorded));
            }
            let snapshot = revision.map(|revision| revision.snapshot);
            links.push(Link { ordinal, recorded: recorded.clone(), snapshot });
        }
        // Only now is known which revisions no leaf speaks of: they may stand in the place of those that are lost.
        for (ordinal, recorded) in lost {
            findings.push(kept.explain_loss(ordinal, recorded));
        }
        let snapshots: BTreeMap<Digest, &Snapshot> =
            links.iter().filter_map(|link| link.snapshot.as_ref()).map(|s| (s.digest(), s)).collect();
        check_recorded(recorded, &snapshots, &mut findings);
        let last = recorded.last().map(|recorded| recorded.leaf.clone());
        let pending = kept.pending(links.len() as u32 + 1, last, &mut findings);
        Self { subject: subject.clone(), recorded: links, pending, findings }
    }

    /// What the next snapshot follows.
    pub fn last(&self) -> Option<ConfigLeaf> {
        let pending = self.pending.last().map(|revision| ConfigLeaf::of(&revision.snapshot));
        pending.or_else(|| self.recorded.last().map(|link| link.recorded.leaf.clone()))
    }

    /// The place that the next snapshot takes.
    pub fn next_ordinal(&self) -> u32 {
        (self.recorded.len() + self.pending.len()) as u32 + 1
    }
}

/// Revisions of one object that are not accounted for yet.
struct Kept<'a> {
    subject: &'a Subject,
    /// By digest: ordinarily one each.
    readable: BTreeMap<Digest, Vec<&'a Revision>>,
    broken: Vec<&'a Broken>,
}

impl<'a> Kept<'a> {
    fn of(subject: &'a Subject, revisions: &'a Revisions) -> Self {
        let mut readable: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for revision in revisions.of(subject) {
            readable.entry(revision.snapshot.digest()).or_default().push(revision);
        }
        Self { subject, readable, broken: revisions.broken_of(subject) }
    }

    /// The revision that holds a recorded snapshot.
    fn take(&mut self, sha256: &Digest, ordinal: u32, findings: &mut Vec<Finding>) -> Option<Revision> {
        let copies = self.readable.remove(sha256)?;
        for copy in copies.iter().filter(|copy| copy.ordinal != ordinal) {
            let name = copy.name.clone();
            findings.push(Finding::RevisionMisplaced { name, expected: ordinal, found: copy.ordinal });
        }
        copies.into_iter().next().cloned()
    }

    /// What became of the revision of a recorded snapshot that is not to be found by its digest.
    fn explain_loss(&mut self, ordinal: u32, recorded: &Recorded) -> Finding {
        let (index, sha256) = (recorded.index, recorded.leaf.sha256);
        let claims = |broken: &&Broken| ordinal_in_name(&broken.name, self.subject) == Some(ordinal);
        if let Some(position) = self.broken.iter().position(claims) {
            let Broken { name, reason, .. } = self.broken.remove(position);
            let name = name.clone();
            return match reason {
                RevisionError::NoData | RevisionError::Data(_) | RevisionError::OtherData { .. } => {
                    Finding::RevisionReplaced { name, index, sha256, reason: reason.to_string() }
                }
                RevisionError::Ordinal(_) | RevisionError::Name(_) | RevisionError::Labels(_) => {
                    Finding::RevisionUnreadable { name, reason: Box::new(reason.clone()) }
                }
            };
        }
        let other =
            self.readable.iter().find(|(_, copies)| copies.iter().any(|copy| copy.ordinal == ordinal));
        if let Some(found) = other.map(|(found, _)| *found)
            && let Some(other) = self.readable.remove(&found).and_then(|copies| copies.into_iter().next())
        {
            let reason = format!("it holds {found}");
            return Finding::RevisionReplaced { name: other.name.clone(), index, sha256, reason };
        }
        Finding::RevisionMissing { name: revision_name(self.subject, ordinal, &sha256), index, sha256 }
    }

    /// What is left, from place `next` on: pending as long as each follows the one before.
    fn pending(
        self,
        mut next: u32,
        mut before: Option<ConfigLeaf>,
        findings: &mut Vec<Finding>,
    ) -> Vec<Revision> {
        let mut left: Vec<&Revision> = self.readable.into_values().flatten().collect();
        left.sort_by_key(|revision| (revision.ordinal, revision.created_at, &revision.name));
        let mut pending = Vec::new();
        let mut linked = true;
        while !left.is_empty() {
            let expected = before.as_ref().map(|before| before.sha256);
            // One that follows comes before others that claim its place: nobody can hold the chain up with a false one.
            let follows = |r: &&Revision| r.ordinal == next && r.snapshot.previous() == expected;
            let revision = left.remove(left.iter().position(follows).unwrap_or(0));
            let (name, ordinal, snapshot) = (&revision.name, revision.ordinal, &revision.snapshot);
            if ordinal < next {
                findings.push(Finding::RevisionUnrecorded { name: name.clone(), ordinal });
                continue;
            }
            if ordinal == next && snapshot.previous() == expected {
                findings.extend(check_generations(snapshot, before.as_ref().map(ConfigLeaf::stage)));
            } else {
                linked = false;
                let found = snapshot.previous();
                findings.push(Finding::PendingUnlinked { name: name.clone(), expected, found });
            }
            if linked {
                pending.push(revision.clone());
            }
            before = Some(ConfigLeaf::of(snapshot));
            next = ordinal.saturating_add(1);
        }
        for Broken { name, reason, .. } in self.broken {
            findings
                .push(Finding::RevisionUnreadable { name: name.clone(), reason: Box::new(reason.clone()) });
        }
        pending
    }
}
