//! Snapshots as ControllerRevisions: where they are kept first, before anybody outside the cluster knows of them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::apps::v1::ControllerRevision, apimachinery::pkg::apis::meta::v1::ObjectMeta,
    apimachinery::pkg::runtime::RawExtension,
};
use openarchive_domain::{Digest, Timestamp};

use crate::{
    snapshot::{Snapshot, SnapshotError},
    subject::Subject,
};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OPERATOR: &str = "openarchive-operator";
const KIND: &str = "openarchive.dev/snapshot-kind";
const NAME: &str = "openarchive.dev/snapshot-name";

/// Label selector that lists the snapshots of every object.
pub const SELECTOR_OF_ALL: &str = "app.kubernetes.io/managed-by=openarchive-operator,openarchive.dev/snapshot-kind,openarchive.dev/snapshot-name";

/// Hex digits of the digest in a revision's name.
const NAME_HEX_DIGITS: usize = 10;

/// What is wrong with a ControllerRevision that should hold a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    #[error("it holds no data")]
    NoData,
    #[error("its data is no snapshot: {0}")]
    Data(#[from] SnapshotError),
    #[error("its data has the digest {found}, which does not go with its name")]
    OtherData { found: Digest },
    #[error("its number {0} is not one from 1 to 4294967295")]
    Ordinal(i64),
    #[error("it does not have the name {0}, which goes with its number and data")]
    Name(String),
    #[error("its namespace or labels are not those of {0}, of which its data is")]
    Labels(Subject),
}

/// A snapshot and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Name of the ControllerRevision.
    pub name: String,
    /// Counts the snapshots of one object from 1, without gaps.
    pub ordinal: u32,
    /// By the API server's clock; for the order of two that claim one place, nothing else.
    pub created_at: Option<Timestamp>,
    pub snapshot: Snapshot,
}

/// `NAME-config-<ordinal>-<first 10 hex digits of the digest>`.
pub fn revision_name(subject: &Subject, ordinal: u32, digest: &Digest) -> String {
    let mut hex = digest.hex();
    hex.truncate(NAME_HEX_DIGITS);
    format!("{}-config-{ordinal}-{hex}", subject.name())
}

/// Label selector that lists the snapshots of one object.
pub fn selector(subject: &Subject) -> String {
    let labels = labels(subject).into_iter().map(|(label, value)| format!("{label}={value}"));
    labels.collect::<Vec<_>>().join(",")
}

/// The object to create, not to apply: an object of this name must never be merged with one that stands. The API server
/// refuses any later change of its data.
///
/// It has no owner: the history must outlive the object that it is about, or deleting that object would delete the
/// record of how it was configured. For the same reason it has no finalizer that would need the object.
pub fn revision(snapshot: &Snapshot, ordinal: u32) -> ControllerRevision {
    ControllerRevision {
        data: Some(RawExtension(snapshot.json().clone())),
        metadata: ObjectMeta {
            name: Some(revision_name(snapshot.subject(), ordinal, &snapshot.digest())),
            namespace: Some(snapshot.subject().namespace().to_owned()),
            labels: Some(labels(snapshot.subject())),
            ..ObjectMeta::default()
        },
        revision: i64::from(ordinal),
    }
}

/// Reads a revision and checks that name, number, labels and data belong together. The name holds 40 bits of the digest
/// only: what was recorded is decided by the ledger, see [`crate::Chain`].
pub fn of_revision(revision: &ControllerRevision) -> Result<Revision, RevisionError> {
    let data = revision.data.as_ref().ok_or(RevisionError::NoData)?;
    let snapshot = Snapshot::of_value(&data.0)?;
    let ordinal = u32::try_from(revision.revision).ok().filter(|ordinal| *ordinal > 0);
    let ordinal = ordinal.ok_or(RevisionError::Ordinal(revision.revision))?;
    let subject = snapshot.subject();
    let expected = revision_name(subject, ordinal, &snapshot.digest());
    let metadata = &revision.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    if name != expected {
        let (found, others) = (ordinal_in_name(&name, subject), snapshot.digest());
        return Err(match found {
            Some(found) if found == ordinal => RevisionError::OtherData { found: others },
            _ => RevisionError::Name(expected),
        });
    }
    let has = |(label, value): (&String, &String)| {
        metadata.labels.as_ref().and_then(|labels| labels.get(label)) == Some(value)
    };
    if metadata.namespace.as_deref() != Some(subject.namespace()) || !labels(subject).iter().all(has) {
        return Err(RevisionError::Labels(subject.clone()));
    }
    let created_at = metadata.creation_timestamp.as_ref();
    let created_at = created_at.map(|time| Timestamp::from_millis(time.0.as_millisecond()));
    Ok(Revision { name, ordinal, created_at, snapshot })
}

fn labels(subject: &Subject) -> BTreeMap<String, String> {
    [(KIND, subject.kind()), (NAME, subject.name()), (MANAGED_BY, OPERATOR)]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
}

/// Whom the labels of a revision name.
pub(crate) fn labelled(revision: &ControllerRevision) -> Option<Subject> {
    let labels = revision.metadata.labels.as_ref()?;
    Subject::new(labels.get(KIND)?, revision.metadata.namespace.as_deref()?, labels.get(NAME)?).ok()
}

/// The ordinal in the name of a revision, if it is one that `subject` could have.
pub(crate) fn ordinal_in_name(name: &str, subject: &Subject) -> Option<u32> {
    let (ordinal, hex) = name.strip_prefix(subject.name())?.strip_prefix("-config-")?.split_once('-')?;
    let digits = hex.len() == NAME_HEX_DIGITS && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ordinal: u32 = ordinal.parse().ok().filter(|read: &u32| read.to_string() == ordinal)?;
    digits.then_some(ordinal)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, snapshots};

    #[test]
    fn a_revision_names_its_object_place_and_content_and_belongs_to_nobody() {
        let [first, ..] = snapshots::<2>();
        let made = revision(&first, 1);
        assert_eq!(made.metadata.owner_references, None);
        assert_eq!(made.metadata.finalizers, None);
        assert_eq!(made.metadata.name, Some(format!("main-config-1-{}", &first.digest().hex()[..10])));
        assert_snapshot!(selector(first.subject()), @"app.kubernetes.io/managed-by=openarchive-operator,openarchive.dev/snapshot-kind=ArchiveCore,openarchive.dev/snapshot-name=main");
        for label in SELECTOR_OF_ALL.split(',') {
            let label = label.split('=').next().unwrap();
            assert!(made.metadata.labels.as_ref().unwrap().contains_key(label), "{label}");
        }
    }

    #[test]
    fn a_revision_reads_back_as_it_was_made_also_after_a_trip_through_json() {
        for (snapshot, ordinal) in snapshots::<3>().iter().zip(1..) {
            let made = revision(snapshot, ordinal);
            let text = serde_json::to_string_pretty(&made).unwrap();
            let read = of_revision(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!((read.ordinal, &read.snapshot), (ordinal, snapshot));
        }
    }

    #[test]
    fn a_revision_whose_parts_do_not_belong_together_is_refused() {
        let [first, second] = snapshots::<2>();
        let check = |change: &dyn Fn(&mut ControllerRevision), expected: RevisionError| {
            let mut made = revision(&first, 1);
            change(&mut made);
            assert_eq!(of_revision(&made), Err(expected));
        };
        check(&|r| r.data = None, RevisionError::NoData);
        check(&|r| r.data = Some(RawExtension(json!({ "v": 1 }))), RevisionError::Data(SnapshotError::Form));
        check(&|r| r.data = revision(&second, 1).data, RevisionError::OtherData { found: second.digest() });
        check(&|r| r.revision = 0, RevisionError::Ordinal(0));
        check(&|r| r.revision = 1 << 32, RevisionError::Ordinal(1 << 32));
        let renamed = revision_name(first.subject(), 2, &first.digest());
        check(&|r| r.revision = 2, RevisionError::Name(renamed));
        let labels = RevisionError::Labels(first.subject().clone());
        check(&|r| r.metadata.namespace = Some("other".to_owned()), labels.clone());
        check(&|r| r.metadata.labels = revision(&fixtures::other(), 1).metadata.labels, labels);
    }
}
