use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, RetentionClass, Timestamp};
use openarchive_envelope::BlobKind;
use openarchive_ledger::leaf::MessageState;
use openarchive_schema::{TenantScope, begin};
use serde_json::{Value, json};

use super::{LeafNote, Rebuild};
use crate::{
    blob_store::BlobError,
    catalogue_entry::CatalogueEntry,
    commit::rebuild_offered,
    failure::Failure,
    finding::{Finding, Step},
    message_reader::{MessageSource, ReadError},
    observation_record::{ObservationRecord, RECORD_BYTES_MAX},
    observation_rows::{bytea, undecodable, with_seat},
    recording::{self, LeafIs, NewObservation, Recorded, ShredsSeen, leaf_body},
};

/// Names of blobs in one query.
const NAMES_PAGE: i64 = 1_000;
/// Observations in one transaction.
pub(super) const OBSERVATIONS_TOGETHER: usize = 256;
/// Blobs read at a time.
const READS_AT_ONCE: usize = 16;

/// An observation blob in storage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlobPlace {
    pub(super) digest: Digest,
    class: String,
}

/// All that has to be restored of a tenant.
#[derive(Default)]
pub(super) struct Observations {
    pub(super) with_leaf: Vec<(LeafNote, BlobPlace)>,
    pub(super) without_leaf: Vec<(Timestamp, BlobPlace)>,
}

impl Observations {
    /// In the order of the log, but duplicates last: the first observation of a message is the one that its row is
    /// made from, and that was never a duplicate.
    pub(super) fn sort(&mut self) {
        self.with_leaf.sort_by_key(|(note, _)| (note.state == MessageState::Duplicate, note.index));
        self.without_leaf.sort();
    }
}

/// What an observation blob is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    OfLeaf(LeafNote),
    WithoutLeaf,
    /// Its seat has a leaf that another blob opens.
    Unreferenced,
}

impl Found {
    pub(super) fn of(record: &ObservationRecord, leaf: Option<&LeafNote>) -> Self {
        let Some(note) = leaf else { return Self::WithoutLeaf };
        let leaf = record.leaf(note.state);
        let is_same = Digest::of(leaf_body(&leaf).as_bytes()) == note.body && record.opens(&leaf);
        if is_same { Self::OfLeaf(*note) } else { Self::Unreferenced }
    }
}

/// What to make of one observation.
enum Restored {
    Ready(Box<NewObservation>),
    Damaged(Finding),
    /// Its message is not complete: nobody was told that it is archived.
    Incomplete,
}

impl Rebuild<'_> {
    /// The next names of one kind in the order of digests.
    pub(super) async fn blobs_after(
        &self,
        kind: BlobKind,
        after: Option<&BlobPlace>,
    ) -> Result<Vec<BlobPlace>, Failure> {
        let (digest, class) =
            after.map_or((&[][..], ""), |place| (&place.digest.as_bytes()[..], &place.class));
        let rows = sqlx::query!(
            "select digest, class from storage.pack_entry
             where tenant = $1 and kind = $2 and wrapped_dek is not null and (digest, class) > ($3, $4)
             order by digest, class limit $5",
            self.tenant.as_str(),
            i16::from(kind.code()),
            digest,
            class,
            NAMES_PAGE
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                let digest = row.digest.as_slice().try_into().map_err(undecodable)?;
                Ok(BlobPlace { digest, class: row.class })
            })
            .collect()
    }

    /// Reads and decodes observation blobs; those that cannot be read go into the report.
    pub(super) async fn read_records(
        &mut self,
        places: Vec<BlobPlace>,
    ) -> Result<Vec<(BlobPlace, ObservationRecord)>, Failure> {
        let this = &*self;
        let reads: Vec<_> = places
            .into_iter()
            .map(|place| async move {
                let record = this.read_record(&place).await?;
                Ok::<_, Failure>((place, record))
            })
            .collect();
        let read: Vec<_> = stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        let mut records = Vec::with_capacity(read.len());
        for (place, record) in read {
            match record {
                Ok(record) => records.push((place, record)),
                Err(damage) => self.report.damage.push(damage),
            }
        }
        Ok(records)
    }

    async fn read_record(&self, place: &BlobPlace) -> Result<Result<ObservationRecord, Finding>, Failure> {
        let damaged = |why: String| {
            let (tenant, record) = (self.tenant.clone(), place.digest);
            Ok(Err(Finding::RecordDamaged { tenant, record, why }))
        };
        let Ok(class) = place.class.parse::<RetentionClass>() else {
            return damaged("its pack is of a class that this version does not know".to_owned());
        };
        let source = self.source(class);
        match source.observation(place.digest, RECORD_BYTES_MAX).await {
            Err(BlobError::Unavailable(status)) => Err(BlobError::Unavailable(status).into()),
            Err(damage) => damaged(damage.to_string()),
            Ok(bytes) => match ObservationRecord::decode(&bytes) {
                Ok(record) if record.agent.tenant != *self.tenant => {
                    damaged("it is of another tenant".to_owned())
                }
                Ok(record) => Ok(Ok(record)),
                Err(error) => damaged(error.to_string()),
            },
        }
    }

    fn source(&self, class: RetentionClass) -> MessageSource {
        MessageSource { blobs: self.blobs.clone(), tenant: self.tenant.clone(), class }
    }

    /// Rows for observations that the log speaks of.
    pub(super) async fn restore(&mut self, observations: Vec<(LeafNote, BlobPlace)>) -> Result<(), Failure> {
        let total = observations.len() as u64;
        for (position, group) in observations.chunks(OBSERVATIONS_TOGETHER).enumerate() {
            let notes: std::collections::BTreeMap<Digest, LeafNote> =
                group.iter().map(|(note, place)| (place.digest, *note)).collect();
            let places = group.iter().map(|(_, place)| place.clone()).collect();
            let records = self.read_records(places).await?;
            let leaf_of = |blob: &Digest| {
                notes.get(blob).map_or(LeafIs::ToAppend, |note| LeafIs::Standing {
                    index: note.index,
                    state: note.state,
                })
            };
            self.discard_contradicted(&records).await?;
            let restored = self.prepare(records, leaf_of).await?;
            self.report.restored += self.write(restored).await?;
            let done = (position * OBSERVATIONS_TOGETHER + group.len()) as u64;
            self.say(Step::Messages, done, total);
        }
        Ok(())
    }

    /// Where a database older than the log was served before it was rebuilt, an agent that came back was recorded
    /// anew at its seat, with a salt that the leaf of that seat does not know. No receipt was ever given for such a
    /// row (its leaf cannot be appended), so it gives way to the one that opens the leaf.
    async fn discard_contradicted(&self, records: &[(BlobPlace, ObservationRecord)]) -> Result<(), Failure> {
        let seats = records.iter().map(|(place, record)| {
            let seat = (record.agent.name.clone(), record.offer.seat);
            with_seat(json!({ "record": bytea(place.digest.as_bytes()) }), &seat)
        });
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        sqlx::query!(
            "with contradicted as (
               select o.agent, o.instance, o.agent_epoch, o.seq
               from jsonb_to_recordset($2::jsonb)
                 as s(agent text, instance uuid, agent_epoch numeric, seq bigint, record bytea)
               join ingest.observation o
                 on o.tenant = $1 and o.agent = s.agent and o.instance = s.instance
                   and o.agent_epoch = s.agent_epoch and o.seq = s.seq
               where o.leaf_index is null and o.record <> s.record
             ), unsent as (
               delete from ingest.outbox x using contradicted c
               where x.tenant = $1 and x.agent = c.agent and x.instance = c.instance
                 and x.agent_epoch = c.agent_epoch and x.seq = c.seq
             )
             delete from ingest.observation o using contradicted c
             where o.tenant = $1 and o.agent = c.agent and o.instance = c.instance
               and o.agent_epoch = c.agent_epoch and o.seq = c.seq",
            self.tenant.as_str(),
            seats.collect::<Value>()
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Rows and outbox rows for observations that were durable but not recorded.
    pub(super) async fn record_leafless(
        &mut self,
        observations: Vec<(Timestamp, BlobPlace)>,
    ) -> Result<(), Failure> {
        for group in observations.chunks(OBSERVATIONS_TOGETHER) {
            let places = group.iter().map(|(_, place)| place.clone()).collect();
            let records = self.read_records(places).await?;
            let restored = self.prepare(records, |_| LeafIs::ToAppend).await?;
            self.report.recorded += self.write(restored).await?;
        }
        Ok(())
    }

    async fn prepare(
        &self,
        records: Vec<(BlobPlace, ObservationRecord)>,
        leaf_of: impl Fn(&Digest) -> LeafIs,
    ) -> Result<Vec<Restored>, Failure> {
        let reads: Vec<_> = records
            .into_iter()
            .map(|(place, record)| {
                let leaf = leaf_of(&place.digest);
                self.prepare_one(place.digest, record, leaf)
            })
            .collect();
        stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    /// A leaf proves that the message was rebuilt once, so its skeleton is enough to make the row; `fsck` rebuilds
    /// every message. Without a leaf nothing is proven yet.
    async fn prepare_one(
        &self,
        blob: Digest,
        record: ObservationRecord,
        leaf: LeafIs,
    ) -> Result<Restored, Failure> {
        let source = self.source(record.class);
        let entry = match leaf {
            LeafIs::Standing { .. } => match source.skeleton(record.offer.skeleton).await {
                Ok(skeleton) => CatalogueEntry::read(&source, &skeleton).await.map(Ok),
                Err(error) => Err(error),
            },
            LeafIs::ToAppend => rebuild_offered(&source, &record.offer).await,
        };
        Ok(match (entry, leaf) {
            (Ok(Ok(entry)), _) => Restored::Ready(Box::new(NewObservation { record, blob, entry, leaf })),
            (Err(ReadError::Blob(BlobError::Unavailable(status))), _) => {
                return Err(BlobError::Unavailable(status).into());
            }
            (_, LeafIs::ToAppend) | (Ok(Err(_)), _) => Restored::Incomplete,
            (Err(damage), LeafIs::Standing { .. }) => Restored::Damaged(Finding::MessageDamaged {
                tenant: self.tenant.clone(),
                message: record.offer.message,
                why: damage.to_string(),
            }),
        })
    }

    /// Answers how many got their row.
    async fn write(&mut self, restored: Vec<Restored>) -> Result<u64, Failure> {
        let mut batch = Vec::new();
        for restored in restored {
            match restored {
                Restored::Ready(new) => batch.push(*new),
                Restored::Damaged(finding) => self.report.damage.push(finding),
                Restored::Incomplete => self.report.unreferenced += 1,
            }
        }
        let recorded = recording::record(self.pool, self.tenant, batch, ShredsSeen::ALL).await?;
        let now = recorded.iter().filter(|recorded| **recorded == Recorded::Now).count() as u64;
        self.report.unreferenced += recorded.len() as u64 - now;
        Ok(now)
    }
}
