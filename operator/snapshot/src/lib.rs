//! Snapshots of applied configuration (operator.md section 4): what was applied, in canonical JSON without any value of
//! a Secret, chained by hash, kept as ControllerRevisions, recorded in the archive's `config` log.
//!
//! Architecture invariant: no Kubernetes client, no network, no clock, no randomness. Whoever lists revisions, stores
//! blobs and appends leaves does it outside and hands in what was read.

mod chain;
mod delivery;
mod diff;
mod export;
mod finding;
mod generations;
mod history;
mod leaf;
mod links;
mod log;
mod object_id;
mod place;
mod redact;
mod revision;
mod revisions;
mod snapshot;
mod subject;

#[cfg(test)]
mod fixtures;

pub use chain::{Chain, Link, subjects};
pub use delivery::{Delivery, pending};
pub use diff::{Change, Diff, What, diff};
pub use export::{
    EXPORT_BYTES_MAX, EXPORT_FILES_MAX, Export, ExportError, ExportFinding, Outcome, Proved,
    SENTENCE_NOT_ANCHORED, verify_export, verify_export_since,
};
pub use finding::Finding;
pub use generations::GenerationRange;
pub use history::{HistoryContent, HistoryRow, Standing, history};
pub use leaf::ConfigLeaf;
pub use log::{ConfigLog, LogLeaf, Recorded};
pub use object_id::ObjectId;
pub use redact::{MAC_KEY_BYTES, MacKey};
pub use revision::{
    Revision, RevisionError, SELECTOR_OF_ALL, of_revision, revision, revision_name, selector,
};
pub use revisions::Revisions;
pub use snapshot::{Applied, SNAPSHOT_BYTES_MAX, SecretsMac, Snapshot, SnapshotError};
pub use subject::Subject;
