//! Receipts: a leaf, what opens it, and its proof, put together anew whenever they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::Tenant;
use openarchive_ledger::{leaf::MessageLeaf, receipt::Receipt};
use tonic::Code;

use crate::{
    core::Core,
    failure::Failure,
    ledger_client::BATCH_MAX,
    observation_record::{ObservationRecord, RECORD_BYTES_MAX},
    observation_rows::{self, ObservationRow, SeatKey},
    outbox::{self, StandingLeaf},
};

/// Observation blobs that one call reads at a time.
const RECORDS_READ_AT_ONCE: usize = 16;

/// The receipts of recorded observations, by seat. Sends their leaves to the log where that has not happened yet, and
/// waits for a checkpoint that covers them. `records`: those at hand; the others are read from storage.
pub(crate) async fn receipts(
    core: &Core,
    tenant: &Tenant,
    seats: &[SeatKey],
    mut records: BTreeMap<SeatKey, ObservationRecord>,
) -> Result<BTreeMap<SeatKey, String>, Failure> {
    if seats.is_empty() {
        return Ok(BTreeMap::new());
    }
    let leaves = durable_leaves(core, tenant, seats).await?;
    let unread: Vec<&ObservationRow> =
        leaves.values().map(|(row, _)| row).filter(|row| !records.contains_key(&row.key())).collect();
    records.extend(read_records(core, tenant, &unread).await?);
    let mut receipts = BTreeMap::new();
    let leaves: Vec<(SeatKey, StandingLeaf)> =
        leaves.into_iter().map(|(key, (_, leaf))| (key, leaf)).collect();
    for group in leaves.chunks(BATCH_MAX) {
        let indices: Vec<u64> = group.iter().map(|(_, leaf)| leaf.index).collect();
        let inclusions = core.ledger.inclusions(tenant, &indices).await?;
        for ((key, leaf), hashes) in group.iter().zip(inclusions.proofs) {
            let record = records.get(key).ok_or_else(|| no_leaf(key))?;
            check_opens(record, leaf)?;
            let receipt = Receipt {
                leaf: leaf.bytes.clone(),
                openings: record.openings(),
                index: leaf.index,
                hashes,
                checkpoint_note: inclusions.checkpoint_note.clone(),
            };
            receipts.insert(key.clone(), receipt.to_text());
        }
    }
    Ok(receipts)
}

/// Every seat's row and the leaf that stands for it in the log.
async fn durable_leaves(
    core: &Core,
    tenant: &Tenant,
    seats: &[SeatKey],
) -> Result<BTreeMap<SeatKey, (ObservationRow, StandingLeaf)>, Failure> {
    let waiting = outbox::rows_of(&core.pool, tenant, seats).await?;
    let mut settled = outbox::settle(&core.pool, &core.ledger, tenant, waiting).await?;
    // Read after the outbox: a row is in one or has its index in the other.
    let rows = observation_rows::at_seats(&core.pool, tenant, seats).await?;
    let elsewhere = rows.iter().filter(|(key, _)| !settled.contains_key(*key));
    let indices: BTreeSet<u64> = elsewhere.filter_map(|(_, row)| row.leaf_index).collect();
    let mut stored = core.ledger.leaves_at(tenant, &indices).await?;
    let mut leaves = BTreeMap::new();
    for (key, row) in rows {
        let stored_leaf = |index| stored.remove(&index).map(|bytes| StandingLeaf { index, bytes });
        let leaf = settled.remove(&key).or_else(|| row.leaf_index.and_then(stored_leaf));
        let leaf = leaf.ok_or_else(|| no_leaf(&key))?;
        leaves.insert(key, (row, leaf));
    }
    Ok(leaves)
}

async fn read_records(
    core: &Core,
    tenant: &Tenant,
    rows: &[&ObservationRow],
) -> Result<BTreeMap<SeatKey, ObservationRecord>, Failure> {
    let reads: Vec<_> = rows
        .iter()
        .map(|row| async move { Ok::<_, Failure>((row.key(), record_of(core, tenant, row).await?)) })
        .collect();
    stream::iter(reads).buffer_unordered(RECORDS_READ_AT_ONCE).try_collect().await
}

/// The observation blob that a row names.
pub(crate) async fn record_of(
    core: &Core,
    tenant: &Tenant,
    row: &ObservationRow,
) -> Result<ObservationRecord, Failure> {
    let source = core.source(tenant, row.class);
    let bytes = source.observation(row.record, RECORD_BYTES_MAX).await?;
    ObservationRecord::decode(&bytes)
        .map_err(|error| Failure::Damaged(format!("observation {}: {error}", row.record)))
}

/// The same comparison that the agent makes, before it is asked to.
fn check_opens(record: &ObservationRecord, leaf: &StandingLeaf) -> Result<(), Failure> {
    if MessageLeaf::parse(&leaf.bytes).is_ok_and(|stamped| record.opens(&stamped.leaf)) {
        return Ok(());
    }
    let why =
        format!("leaf {} is not opened by the observation of its seat: run `openarchive fsck`", leaf.index);
    Err(Failure::Damaged(why))
}

fn no_leaf((agent, seat): &SeatKey) -> Failure {
    let message = format!("seq {} of agent {agent} has no leaf in the log: run `openarchive fsck`", seat.seq);
    Failure::refused(Code::DataLoss, "NO_LEAF", message)
}
