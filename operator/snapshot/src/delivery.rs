use openarchive_domain::Digest;
use openarchive_ledger::jcs::JcsError;
use serde_json::Value;

use crate::{
    chain::Chain, leaf::ConfigLeaf, log::ConfigLog, revisions::Revisions, snapshot::Snapshot,
    subject::Subject,
};

/// What has to reach the archive for one snapshot: its body as a blob of kind `config`, and then its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub subject: Subject,
    pub ordinal: u32,
    /// Its canonical text is the blob, its digest the blob's name.
    pub snapshot: Snapshot,
    /// Body for `Append`, without a time.
    pub leaf: Value,
    pub idempotency_key: Digest,
    /// Index of the leaf that must be the log's last when this one is appended; within one call they count on. Fences
    /// two operators: the one whose view is old is refused, reads the log again, and asks [`pending`] again.
    pub expected_previous: u64,
}

/// What the ledger lacks, in the order in which it has to be delivered. Of an object whose pending revisions are not one
/// chain only those up to the break: [`Chain::verify`] says what is wrong with the others. `log` must have been read to
/// its end.
pub fn pending(revisions: &Revisions, log: &ConfigLog) -> Result<Vec<Delivery>, JcsError> {
    let mut deliveries = Vec::new();
    for subject in revisions.subjects() {
        for revision in Chain::verify(&subject, revisions, log).pending {
            let leaf = ConfigLeaf::of(&revision.snapshot);
            // A log without leaves gets leaf 0 from the sequencer before the first of ours.
            let last = log.next_index().max(1) - 1;
            deliveries.push(Delivery {
                ordinal: revision.ordinal,
                idempotency_key: leaf.idempotency_key()?,
                leaf: leaf.body(),
                expected_previous: last + deliveries.len() as u64,
                snapshot: revision.snapshot,
                subject: leaf.subject,
            });
        }
    }
    Ok(deliveries)
}
