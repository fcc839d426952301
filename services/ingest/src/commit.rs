//! Committing mail: what must hold before an observation is recorded, and in which order it becomes durable.
//!
//! seat free -> blobs there and locked for long enough -> message rebuilt from storage and equal to the offer -> observation blob durable ->
//! one transaction -> leaf durable -> receipt. A call may end between any two steps; the next call for the same seat
//! runs the same path and ends in the same single observation. What an ended call leaves behind is at most an
//! observation blob that nothing refers to.

mod read_back;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{AgentRef, Digest, RetentionClass, Tenant, Timestamp, lock_until, random};
use openarchive_ledger::commitment::Salt;
use tonic::Code;

use crate::{
    blob_store::BlobName,
    core::{Core, READ_BACKS_MAX},
    failure::Failure,
    observation_record::ObservationRecord,
    observation_rows::{self, SeatKey},
    offer::Offer,
    offered_class::{class_changed, correspondents},
    receipts::receipts,
    recording::{self, LeafIs, NewObservation, Recorded, ShredsSeen},
    retention::RetentionRule,
};
use read_back::{ReadBack, read_back};
pub(crate) use read_back::{parts_of, rebuild_offered};

/// One mail that an agent asks to commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitItem {
    pub(crate) offer: Offer,
    /// As the answer to the offer said.
    pub(crate) class: RetentionClass,
}

/// What became of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Receipt(String),
    Missing(MissingBlobs),
    /// The blobs do not join to what was offered. Nothing was changed.
    Mismatch(String),
    /// Another mail stands at this seat. Nothing was changed.
    SeatTaken,
}

/// Blobs of one mail that its class does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MissingBlobs {
    pub(crate) skeleton: bool,
    pub(crate) parts: Vec<Digest>,
}

impl MissingBlobs {
    pub(crate) fn is_none(&self) -> bool {
        !self.skeleton && self.parts.is_empty()
    }
}

/// Commits mails of one agent, whose seats all differ. Answers in their order. Every receipt answered is of an
/// observation whose leaf is durable and in a published checkpoint. On an error some may have been recorded:
/// repeating the call gives their receipts.
pub(crate) async fn commit(
    core: &Core,
    rule: &RetentionRule,
    agent: &AgentRef,
    items: &[CommitItem],
) -> Result<Vec<Outcome>, Failure> {
    let now = core.clock.now();
    let shreds_seen = ShredsSeen::now(&core.pool, &agent.tenant).await?;
    let (outcomes, records) = (BTreeMap::new(), BTreeMap::new());
    let mut call = Call { core, rule, agent, items, now, shreds_seen, outcomes, records };
    let fresh = call.without_standing_seats().await?;
    let fresh = call.with_all_blobs(fresh).await?;
    let rebuilt = call.read_back(fresh).await?;
    call.record(rebuilt).await?;
    call.finish().await
}

struct Call<'c> {
    core: &'c Core,
    rule: &'c RetentionRule,
    agent: &'c AgentRef,
    items: &'c [CommitItem],
    /// When the mails are recorded: their time in the archive counts from here.
    now: Timestamp,
    /// Before any blob was looked at.
    shreds_seen: ShredsSeen,
    /// Of items that get no receipt, by position.
    outcomes: BTreeMap<usize, Outcome>,
    /// Recorded by this call.
    records: BTreeMap<SeatKey, ObservationRecord>,
}

impl Call<'_> {
    fn tenant(&self) -> &Tenant {
        &self.agent.tenant
    }

    fn key(&self, item: &CommitItem) -> SeatKey {
        (self.agent.name.clone(), item.offer.seat)
    }

    /// Positions of the items whose seat is free; those whose seat holds another mail are refused.
    async fn without_standing_seats(&mut self) -> Result<Vec<usize>, Failure> {
        let seats: Vec<SeatKey> = self.items.iter().map(|item| self.key(item)).collect();
        let standing = observation_rows::at_seats(&self.core.pool, self.tenant(), &seats).await?;
        let mut fresh = Vec::new();
        for (position, (item, key)) in self.items.iter().zip(&seats).enumerate() {
            match standing.get(key) {
                None => fresh.push(position),
                Some(row) if row.message == item.offer.message => {}
                Some(_) => {
                    self.outcomes.insert(position, Outcome::SeatTaken);
                }
            }
        }
        Ok(fresh)
    }

    /// Those whose blobs are there; old ones are locked until this mail's own date, before anybody hears of a receipt.
    async fn with_all_blobs(&mut self, fresh: Vec<usize>) -> Result<Vec<usize>, Failure> {
        let offers: Vec<(RetentionClass, &Offer)> =
            fresh.iter().map(|&position| (self.items[position].class, &self.items[position].offer)).collect();
        let missing = lock_blobs(self.core, self.tenant(), &offers, self.now).await?;
        let mut complete = Vec::new();
        for (position, missing) in fresh.into_iter().zip(missing) {
            if missing.is_none() {
                complete.push(position);
            } else {
                self.outcomes.insert(position, Outcome::Missing(missing));
            }
        }
        Ok(complete)
    }

    /// Rebuilds the messages; those that are what was offered become observations to be. By now the core knows the
    /// header: a mail whose class it changes must be offered again, and nothing of the call is recorded.
    async fn read_back(&mut self, complete: Vec<usize>) -> Result<Vec<NewObservation>, Failure> {
        let (core, rule, tenant) = (self.core, self.rule, &self.agent.tenant);
        let reads: Vec<_> = complete
            .into_iter()
            .map(|position| {
                let item = &self.items[position];
                async move { Ok::<_, Failure>((position, read_back(core, tenant, item).await?)) }
            })
            .collect();
        let read: Vec<(usize, ReadBack)> = stream::iter(reads).buffered(READ_BACKS_MAX).try_collect().await?;
        let mut rebuilt = Vec::new();
        for (position, outcome) in read {
            let item = &self.items[position];
            match outcome {
                ReadBack::Rebuilt(entry) => {
                    let mail = correspondents(&item.offer.envelope, &entry.participants);
                    if rule.class_of(tenant, &mail, self.now) != item.class {
                        return Err(class_changed(position));
                    }
                    let record = ObservationRecord {
                        agent: self.agent.clone(),
                        offer: item.offer.clone(),
                        class: item.class,
                        recorded_at: self.now,
                        salt: Salt::new(random::bytes()),
                    };
                    // The blob's name follows from its bytes, which are made when it is stored.
                    let blob = Digest::of(&record.encode());
                    rebuilt.push(NewObservation { record, blob, entry, leaf: LeafIs::ToAppend });
                }
                ReadBack::Refused(refusal) => {
                    self.outcomes.insert(position, refusal);
                }
            }
        }
        Ok(rebuilt)
    }

    /// Observation blobs first, then the transaction: a recorded observation never lacks its blob.
    async fn record(&mut self, rebuilt: Vec<NewObservation>) -> Result<(), Failure> {
        if rebuilt.is_empty() {
            return Ok(());
        }
        let blobs = rebuilt.iter().map(|new| (new.record.class, new.blob, new.record.encode())).collect();
        self.core.blobs.put_observations(self.tenant(), blobs).await?;
        let records: Vec<ObservationRecord> = rebuilt.iter().map(|new| new.record.clone()).collect();
        let recorded = recording::record(&self.core.pool, self.tenant(), rebuilt, self.shreds_seen).await?;
        for (record, recorded) in records.into_iter().zip(recorded) {
            match recorded {
                Recorded::Now => {
                    self.records.insert((record.agent.name.clone(), record.offer.seat), record);
                }
                // A call for the same seat that was faster has a record of its own.
                Recorded::SeatHeld => {}
                Recorded::BlobsGone => {
                    let position = self.items.iter().position(|item| item.offer.seat == record.offer.seat);
                    let parts = record.offer.parts.keys().copied().collect();
                    let missing = Outcome::Missing(MissingBlobs { skeleton: true, parts });
                    self.outcomes.extend(position.map(|position| (position, missing)));
                }
            }
        }
        Ok(())
    }

    /// Receipts for every item that has no other outcome.
    async fn finish(self) -> Result<Vec<Outcome>, Failure> {
        let Self { core, agent, items, mut outcomes, records, .. } = self;
        let key = |item: &CommitItem| (agent.name.clone(), item.offer.seat);
        let waiting = items.iter().enumerate().filter(|(position, _)| !outcomes.contains_key(position));
        let seats: Vec<SeatKey> = waiting.map(|(_, item)| key(item)).collect();
        let standing = observation_rows::at_seats(&core.pool, &agent.tenant, &seats).await?;
        let own: BTreeSet<&SeatKey> = items
            .iter()
            .map(|item| (key(item), item.offer.message))
            .filter_map(|(key, message)| {
                standing.get_key_value(&key).filter(|(_, row)| row.message == message)
            })
            .map(|(key, _)| key)
            .collect();
        let own: Vec<SeatKey> = own.into_iter().cloned().collect();
        let mut receipts = receipts(core, &agent.tenant, &own, records).await?;
        let outcome = |(position, item): (usize, &CommitItem)| {
            let receipt = || receipts.remove(&key(item)).map(Outcome::Receipt);
            // Without a receipt, a faster call for the same seat has recorded another mail there.
            outcomes.remove(&position).or_else(receipt).unwrap_or(Outcome::SeatTaken)
        };
        Ok(items.iter().enumerate().map(outcome).collect())
    }
}

/// What storage lacks of each offer in its class, or cannot keep for as long as mail that comes `now`. In the order
/// asked.
pub(crate) async fn missing_blobs(
    core: &Core,
    tenant: &Tenant,
    offers: &[(RetentionClass, &Offer)],
    now: Timestamp,
) -> Result<Vec<MissingBlobs>, Failure> {
    let mut there = BTreeSet::new();
    for (name, class, blobs) in by_class(offers) {
        let keep_until = keep_until(class, now)?;
        let lengths = core.blobs.lengths(tenant, class, &blobs, keep_until).await?;
        let present = blobs.into_iter().zip(lengths).filter(|(_, length)| length.is_some());
        there.extend(present.map(|(blob, _)| (name.clone(), blob)));
    }
    Ok(offers.iter().map(|(class, offer)| missing_of(&class.to_string(), offer, &there)).collect())
}

/// The same, and locks what is there for as long as mail that comes `now`. Durable when it answers.
async fn lock_blobs(
    core: &Core,
    tenant: &Tenant,
    offers: &[(RetentionClass, &Offer)],
    now: Timestamp,
) -> Result<Vec<MissingBlobs>, Failure> {
    let mut there = BTreeSet::new();
    for (name, class, blobs) in by_class(offers) {
        let locked = core.blobs.lock(tenant, class, &blobs, keep_until(class, now)?).await?;
        let locked = blobs.into_iter().zip(locked).filter(|(_, locked)| *locked);
        there.extend(locked.map(|(blob, _)| (name.clone(), blob)));
    }
    Ok(offers.iter().map(|(class, offer)| missing_of(&class.to_string(), offer, &there)).collect())
}

fn keep_until(class: RetentionClass, now: Timestamp) -> Result<Timestamp, Failure> {
    lock_until(class, now).map_err(|error| {
        Failure::refused(Code::FailedPrecondition, "CLASS_BEYOND_CALENDAR", error.to_string())
    })
}

/// The blobs of all offers, each once in its class.
fn by_class(offers: &[(RetentionClass, &Offer)]) -> Vec<(String, RetentionClass, Vec<BlobName>)> {
    let mut wanted: BTreeMap<String, (RetentionClass, BTreeSet<BlobName>)> = BTreeMap::new();
    for (class, offer) in offers {
        let (_, blobs) = wanted.entry(class.to_string()).or_insert_with(|| (*class, BTreeSet::new()));
        blobs.insert(BlobName::Skeleton(offer.skeleton));
        blobs.extend(offer.parts.keys().copied().map(BlobName::Part));
    }
    wanted.into_iter().map(|(name, (class, blobs))| (name, class, blobs.into_iter().collect())).collect()
}

fn missing_of(class: &str, offer: &Offer, there: &BTreeSet<(String, BlobName)>) -> MissingBlobs {
    let is_missing = |blob: BlobName| !there.contains(&(class.to_owned(), blob));
    MissingBlobs {
        skeleton: is_missing(BlobName::Skeleton(offer.skeleton)),
        parts: offer.parts.keys().copied().filter(|part| is_missing(BlobName::Part(*part))).collect(),
    }
}
