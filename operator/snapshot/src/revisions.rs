use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;

use crate::{
    revision::{Revision, RevisionError, labelled, of_revision, ordinal_in_name},
    subject::Subject,
};

/// A ControllerRevision that was taken for a snapshot and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) name: String,
    namespace: String,
    /// Whom its labels name, if anybody.
    labelled: Option<Subject>,
    pub(crate) reason: RevisionError,
}

/// ControllerRevisions of a cluster, read once. Those of StatefulSets and of other software are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revisions {
    readable: BTreeMap<Subject, Vec<Revision>>,
    broken: Vec<Broken>,
}

impl Revisions {
    pub fn read<'a>(revisions: impl IntoIterator<Item = &'a ControllerRevision>) -> Self {
        let mut read = Self::default();
        for revision in revisions {
            match of_revision(revision) {
                Ok(revision) => {
                    read.readable.entry(revision.snapshot.subject().clone()).or_default().push(revision);
                }
                Err(reason) => read.broken.push(Broken {
                    name: revision.metadata.name.clone().unwrap_or_default(),
                    namespace: revision.metadata.namespace.clone().unwrap_or_default(),
                    labelled: labelled(revision),
                    reason,
                }),
            }
        }
        for revisions in read.readable.values_mut() {
            // Of two that claim one place the older comes first, and then one name before the other: everybody who
            // looks must choose the same.
            revisions
                .sort_by(|a, b| (a.ordinal, a.created_at, &a.name).cmp(&(b.ordinal, b.created_at, &b.name)));
        }
        read
    }

    /// By ordinal; of two with the same, the older one first.
    pub fn of(&self, subject: &Subject) -> &[Revision] {
        self.readable.get(subject).map_or(&[], Vec::as_slice)
    }

    /// What the next snapshot follows while the ledger cannot be read; where it can, [`crate::Chain::last`] knows better.
    pub fn last_of(&self, subject: &Subject) -> Option<&Revision> {
        let revisions = self.of(subject);
        let ordinal = revisions.last()?.ordinal;
        revisions.iter().find(|revision| revision.ordinal == ordinal)
    }

    /// Those that cannot be read and say by label, by data or by name that they are of `subject`.
    pub(crate) fn broken_of(&self, subject: &Subject) -> Vec<&Broken> {
        let of = |broken: &&Broken| match (&broken.labelled, &broken.reason) {
            (_, RevisionError::Labels(of_data)) => of_data == subject,
            (Some(labelled), _) => labelled == subject,
            (None, _) => {
                broken.namespace == subject.namespace() && ordinal_in_name(&broken.name, subject).is_some()
            }
        };
        self.broken.iter().filter(of).collect()
    }

    pub(crate) fn subjects(&self) -> BTreeSet<Subject> {
        let labelled = self.broken.iter().filter_map(|broken| broken.labelled.clone());
        self.readable.keys().cloned().chain(labelled).collect()
    }
}
