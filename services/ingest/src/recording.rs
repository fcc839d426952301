//! The one transaction in which observations become part of the catalogue: message, parts, participants,
//! observation, outbox and index job, or nothing at all.
//!
//! Locks are always taken in one order, so that transactions wait for each other and never in a circle: number
//! spaces of agents (advisory, by key), messages (by digest), participants (by key). Inserting the message first is
//! what decides between `stored` and `duplicate`: a second transaction waits there until it knows.

mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::{
    jcs,
    leaf::{MessageLeaf, MessageState},
};
use openarchive_schema::{Transaction, TransactionError, run_tx};
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
) -> Result<Vec<Recorded>, TransactionError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let (batch, tenant) = (Arc::new(batch), tenant.clone());
    run_tx(pool, "commit_messages", |tx| {
        let (batch, tenant) = (Arc::clone(&batch), tenant.clone());
        Box::pin(async move { record_in(tx, &tenant, &batch).await })
    })
    .await
}

async fn record_in(
    tx: &mut Transaction,
    tenant: &Tenant,
    batch: &[NewObservation],
) -> Result<Vec<Recorded>, sqlx::Error> {
    rows::lock_number_spaces(tx, tenant, batch).await?;
    let seats: Vec<SeatKey> = batch.iter().map(NewObservation::key).collect();
    let mut held: BTreeSet<SeatKey> =
        observation_rows::at_seats(&mut **tx, tenant, &seats).await?.into_keys().collect();
    let mut free = Vec::new();
    let recorded = batch.iter().map(|new| {
        // A seat that is named twice is held by the first.
        if held.insert(new.key()) {
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
    let inserted = rows::insert_messages(tx, tenant, &first_of, &free).await?;
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
    rows::insert_index_jobs(tx, tenant, &inserted).await?;
    Ok(recorded)
}
