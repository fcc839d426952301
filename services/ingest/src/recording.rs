//! The one transaction in which observations become part of the catalogue: message, parts, participants,
//! observation, outbox and index job, or nothing at all.
//!
//! Locks are always taken in one order, so that transactions wait for each other and never in a circle: the purge lock
//! (advisory, shared: whoever decides that mail goes takes it alone), number
//! spaces of agents (advisory, by key), messages (by digest), participants (by key). Inserting the message first is
//! what decides between `stored` and `duplicate`: a second transaction waits there until it knows.

mod rows;
mod shreds;

pub(crate) use shreds::ShredsSeen;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::{
    jcs,
    leaf::{MessageLeaf, MessageState},
};
use openarchive_schema::{TenantScope, Transaction, TransactionError, run_tx};
use sqlx::PgPool;

use crate::{
    catalogue_entry::CatalogueEntry,
    observation_record::{MessageIs, ObservationRecord},
    observation_rows::{self, SeatKey},
};

/// An observation whose blob is durable and whose message was rebuilt, ready to be recorded.
#[derive(Debug)]
pub(crate) struct NewObservation {
    pub(crate) record: ObservationRecord,
    /// Digest of the observation blob.
    pub(crate) blob: Digest,
    pub(crate) entry: CatalogueEntry,
    pub(crate) leaf: LeafIs,
}

/// Whether the log already speaks of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeafIs {
    /// No: the transaction decides the state and writes an outbox row.
    ToAppend,
    /// Yes, as after the loss of the database: the leaf's word stands.
    Standing { index: u64, state: MessageState },
}

/// What became of one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    Now,
    /// Another observation stood at its seat; nothing was changed.
    SeatHeld,
    /// What it refers to is being shredded, or was since it was read back; nothing was changed.
    BlobsGone,
}

impl NewObservation {
    pub(crate) fn key(&self) -> SeatKey {
        (self.record.agent.name.clone(), self.record.offer.seat)
    }

    fn message(&self) -> Digest {
        self.record.offer.message
    }

    fn state(&self, message_is: MessageIs) -> MessageState {
        match self.leaf {
            LeafIs::ToAppend => self.record.state(message_is),
            LeafIs::Standing { state, .. } => state,
        }
    }
}

/// An observation with the state it ended in.
struct Decided<'b> {
    new: &'b NewObservation,
    state: MessageState,
}

/// The text of a leaf in the outbox.
pub(crate) fn leaf_body(leaf: &MessageLeaf) -> String {
    jcs::canonicalize(&leaf.body()).expect("a message leaf is strings and one small integer under ASCII keys")
}

/// Records observations of one tenant, all of them or (on an error) none. Answers in their order. Durable when it
/// returns `Ok`; repeating it changes nothing.
pub(crate) async fn record(
    pool: &PgPool,
    tenant: &Tenant,
    batch: Vec<NewObservation>,
    shreds_seen: ShredsSeen,
) -> Result<Vec<Recorded>, TransactionError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let batch = Arc::new(batch);
    let recorded = run_tx(pool, "commit_messages", TenantScope::One(tenant), |tx| {
        let (batch, tenant) = (Arc::clone(&batch), tenant.clone());
        Box::pin(async move { record_in(tx, &tenant, &batch, shreds_seen).await })
    })
    .await?;
    let new = recorded.iter().filter(|recorded| **recorded == Recorded::Now).count();
    openarchive_telemetry::metrics::INGEST_OBSERVATIONS.add([], new as u64);
    Ok(recorded)
}

async fn record_in(
    tx: &mut Transaction,
    tenant: &Tenant,
    batch: &[NewObservation],
    shreds_seen: ShredsSeen,
) -> Result<Vec<Recorded>, sqlx::Error> {
    rows::lock_number_spaces(tx, tenant, batch).await?;
    let gone = shreds::blobs_gone(tx, tenant, batch, shreds_seen).await?;
    let seats: Vec<SeatKey> = batch.iter().map(NewObservation::key).collect();
    let mut held: BTreeSet<SeatKey> =
        observation_rows::at_seats_in(tx, tenant, &seats).await?.into_keys().collect();
    let mut free = Vec::new();
    let recorded = batch.iter().enumerate().map(|(place, new)| {
        if gone.contains(&place) && !held.contains(&new.key()) {
            Recorded::BlobsGone
        } else if held.insert(new.key()) {
            // A seat that is named twice is held by the first.
            free.push(new);
            Recorded::Now
        } else {
            Recorded::SeatHeld
        }
    });
    let recorded = recorded.collect();
    if free.is_empty() {
        return Ok(recorded);
    }
    let mut first_of: BTreeMap<Digest, &NewObservation> = BTreeMap::new();
    for new in &free {
        first_of.entry(new.message()).or_insert(new);
    }
    let mut inserted = rows::insert_messages(tx, tenant, &first_of, &free).await?;
    inserted.extend(shreds::revive_messages(tx, tenant, &first_of, &inserted).await?);
    let mut undecided = inserted.clone();
    let decided: Vec<Decided> = free
        .into_iter()
        .map(|new| {
            let message_is = if undecided.remove(&new.message()) { MessageIs::New } else { MessageIs::Known };
            Decided { new, state: new.state(message_is) }
        })
        .collect();
    first_of.retain(|message, _| inserted.contains(message));
    rows::insert_parts(tx, tenant, &first_of).await?;
    rows::insert_participants(tx, tenant, &first_of, &decided).await?;
    rows::insert_observations(tx, tenant, &decided).await?;
    rows::insert_outbox(tx, tenant, &decided).await?;
    rows::insert_index_jobs(tx, tenant, &inserted, &decided).await?;
    Ok(recorded)
}
