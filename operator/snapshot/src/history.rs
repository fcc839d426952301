use openarchive_domain::{Digest, Timestamp};
use serde::{Serialize, Serializer};

use crate::{chain::Chain, generations::GenerationRange, leaf::ConfigLeaf, snapshot::Snapshot};

/// Where a configuration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// On the ledger, and the cluster has it.
    Recorded,
    /// On the ledger, and the cluster no longer has it.
    Missing,
    /// Kept in the cluster, not yet on the ledger.
    Pending,
}

/// One line of an object's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRow {
    pub ordinal: u32,
    #[serde(serialize_with = "text")]
    pub sha256: Digest,
    pub standing: Standing,
    /// Of its leaf in the config log.
    pub ledger_index: Option<u64>,
    /// When the sequencer appended it: not the time at which it was applied, which may be earlier.
    #[serde(serialize_with = "text_or_null")]
    pub recorded_at: Option<Timestamp>,
    pub uid: String,
    pub generation: u64,
    /// What only the snapshot says.
    #[serde(flatten)]
    pub content: Option<HistoryContent>,
}

/// What a row says of the snapshot itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryContent {
    pub skipped_generations: Vec<GenerationRange>,
    pub operator_version: String,
    /// A name that the client chose, not an identity.
    pub client_declared_manager: String,
    /// How many objects were built from it, and refer to it.
    pub objects: usize,
    /// The object was deleted: this is the last one of its uid.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// The configurations of an object, oldest first.
pub fn history(chain: &Chain) -> Vec<HistoryRow> {
    let recorded = chain.recorded.iter().map(|link| {
        let standing = if link.snapshot.is_some() { Standing::Recorded } else { Standing::Missing };
        let at = Some((link.recorded.index, link.recorded.time));
        row(link.ordinal, standing, at, &link.recorded.leaf, link.snapshot.as_ref())
    });
    let pending = chain.pending.iter().map(|revision| {
        let snapshot = &revision.snapshot;
        row(revision.ordinal, Standing::Pending, None, &ConfigLeaf::of(snapshot), Some(snapshot))
    });
    recorded.chain(pending).collect()
}

fn row(
    ordinal: u32,
    standing: Standing,
    at: Option<(u64, Timestamp)>,
    leaf: &ConfigLeaf,
    snapshot: Option<&Snapshot>,
) -> HistoryRow {
    HistoryRow {
        ordinal,
        sha256: leaf.sha256,
        standing,
        ledger_index: at.map(|(index, _)| index),
        recorded_at: at.map(|(_, time)| time),
        uid: leaf.uid.clone(),
        generation: leaf.generation,
        content: snapshot.map(|snapshot| HistoryContent {
            skipped_generations: snapshot.skipped_generations().to_vec(),
            operator_version: snapshot.operator_version().to_owned(),
            client_declared_manager: snapshot.client_declared_manager().to_owned(),
            objects: snapshot.objects().len(),
            deleted: snapshot.is_deletion(),
        }),
    }
}

fn text<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn text_or_null<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
