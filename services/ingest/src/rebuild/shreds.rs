//! Shreds, from their leaves. Of a finished one nothing is left but the leaf: which mail it was is not known any more,
//! and an observation that the log orders to be shredded is never missed. An order that was not carried out to its end
//! stands as it stood: its mail is not there for any reader, and its keys go when the suspension is lifted.

use std::collections::BTreeMap;

use openarchive_ledger::leaf::ShredLeaf;
use openarchive_schema::{TenantScope, Transaction, begin};
use serde_json::json;
use uuid::Uuid;

use super::{
    LeafNote, Rebuild,
    observations::{BlobPlace, OBSERVATIONS_TOGETHER},
};
use crate::{
    failure::Failure,
    observation_record::ObservationRecord,
    observation_rows::{bytea, with_seat},
    offer::Arrival,
};

impl Rebuild<'_> {
    /// `readable`: records of mail that was ordered to be shredded and whose keys are still there.
    pub(super) async fn restore_shreds(
        &mut self,
        shreds: &[(u64, ShredLeaf)],
        readable: Vec<(LeafNote, BlobPlace)>,
    ) -> Result<(), Failure> {
        let mut shred_of = BTreeMap::new();
        for (index, leaf) in shreds {
            if leaf.tenant.as_str() == self.tenant.as_str() {
                self.restore_shred(*index, leaf).await?;
                let shred = Uuid::from_bytes(leaf.shred);
                shred_of.extend(leaf.leaves.iter().map(|index| (*index, shred)));
            }
        }
        for group in readable.chunks(OBSERVATIONS_TOGETHER) {
            let notes: BTreeMap<_, _> = group.iter().map(|(note, place)| (place.digest, *note)).collect();
            let places = group.iter().map(|(_, place)| place.clone()).collect();
            let records = self.read_records(places).await?;
            for (place, record) in records {
                let note = notes.get(&place.digest);
                if let Some((note, shred)) = note.and_then(|note| Some((note, shred_of.get(&note.index)?))) {
                    self.restore_shredding(*shred, note, &place, &record).await?;
                }
            }
        }
        Ok(())
    }

    /// With what is needed to go on: new mail must not refer to a blob whose key is about to go.
    async fn restore_shred(&self, index: u64, leaf: &ShredLeaf) -> Result<(), Failure> {
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        let act = self.restore_act(&mut tx, index, leaf.idempotency_key(), &leaf.body()).await?;
        let Some(act) = act else { return Ok(()) };
        let (mut packs, mut ordinals) = (Vec::new(), Vec::new());
        for (pack, keys) in &leaf.places {
            packs.extend(keys.iter().map(|_| Uuid::from_bytes(*pack)));
            ordinals.extend(keys.iter().map(|key| key.cast_signed()));
        }
        let shred = Uuid::from_bytes(leaf.shred);
        let keys_left = keys_left(&mut tx, self.tenant.as_str(), &packs, &ordinals).await?;
        // Finished not before it was ordered; the rows that knew when are lost.
        let ordered_at = leaf.occurred_at.as_millis();
        let (state, finished_at) =
            if keys_left { ("shredding", None) } else { ("shredded", Some(ordered_at)) };
        sqlx::query!(
            "insert into ingest.shred (tenant, shred, cause, state, ordered_by, ordered_at, finished_at, act_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            self.tenant.as_str(),
            shred,
            leaf.cause.as_str(),
            state,
            leaf.actor,
            ordered_at,
            finished_at,
            act,
        )
        .execute(&mut *tx)
        .await?;
        let leaves: Vec<i64> = leaf.leaves.iter().map(|index| *index as i64).collect();
        sqlx::query!(
            "insert into ingest.shred_observation (tenant, leaf_index, shred)
             select $1, leaf_index, $3 from unnest($2::bigint[]) as leaf_index on conflict do nothing",
            self.tenant.as_str(),
            &leaves,
            shred,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "with ordered as (select * from unnest($2::uuid[], $3::integer[]) as o(pack_id, ordinal))
             insert into ingest.shred_blob (tenant, shred, kind, digest, class)
             select distinct $1, $4::uuid, b.kind, b.digest, b.class from (
               select kind, digest, class from storage.pack_entry join ordered using (pack_id, ordinal)
               where tenant = $1
               union all
               select kind, digest, class from storage.pack_copy join ordered using (pack_id, ordinal)
               where tenant = $1
             ) b",
            self.tenant.as_str(),
            &packs,
            &ordinals,
            shred,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Its row says that it is being shredded, and nothing of the mail. Where the mail came again later, that row stays.
    async fn restore_shredding(
        &self,
        shred: Uuid,
        note: &LeafNote,
        place: &BlobPlace,
        record: &ObservationRecord,
    ) -> Result<(), Failure> {
        let offer = &record.offer;
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        sqlx::query!(
            "insert into ingest.message (tenant, message, length, class, skeleton, archived_at, shred)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            self.tenant.as_str(),
            offer.message.as_bytes().as_slice(),
            offer.length as i64,
            record.class.to_string(),
            offer.skeleton.as_bytes().as_slice(),
            record.recorded_at.as_millis(),
            shred,
        )
        .execute(&mut *tx)
        .await?;
        let reason = match &offer.arrival {
            Arrival::Accepted => "",
            Arrival::Quarantined { reason } => reason.as_str(),
        };
        let columns = json!({
            "message": bytea(offer.message.as_bytes()),
            "state": note.state.as_str(),
            "reason": reason,
            "class": record.class.to_string(),
            "record": bytea(place.digest.as_bytes()),
            "occurred_at": offer.occurred_at.as_millis(),
            "recorded_at": record.recorded_at.as_millis(),
            "idempotency_key": bytea(record.idempotency_key().as_bytes()),
            "leaf_index": note.index,
        });
        sqlx::query!(
            "insert into ingest.observation
               (tenant, agent, instance, agent_epoch, seq, message, state, reason, class, record, occurred_at,
                recorded_at, idempotency_key, leaf_index)
             select $1, r.agent, r.instance, r.agent_epoch, r.seq, r.message, r.state, r.reason, r.class, r.record,
               r.occurred_at, r.recorded_at, r.idempotency_key, r.leaf_index
             from jsonb_to_record($2::jsonb) as r(agent text, instance uuid, agent_epoch numeric, seq bigint,
               message bytea, state text, reason text, class text, record bytea, occurred_at bigint,
               recorded_at bigint, idempotency_key bytea, leaf_index bigint)
             on conflict do nothing",
            self.tenant.as_str(),
            with_seat(columns, &(record.agent.name.clone(), offer.seat)),
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "insert into ingest.shred_message (tenant, shred, message) values ($1, $2, $3) on conflict do nothing",
            self.tenant.as_str(),
            shred,
            offer.message.as_bytes().as_slice(),
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}

/// Whether one of these keys is still there.
async fn keys_left(
    tx: &mut Transaction,
    tenant: &str,
    packs: &[Uuid],
    ordinals: &[i32],
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with ordered as (select * from unnest($2::uuid[], $3::integer[]) as o(pack_id, ordinal))
           select exists (select from storage.pack_entry join ordered using (pack_id, ordinal)
               where tenant = $1 and wrapped_dek is not null)
             or exists (select from storage.pack_copy join ordered using (pack_id, ordinal)
               where tenant = $1 and wrapped_dek is not null) as "left!""#,
        tenant,
        packs,
        ordinals,
    )
    .fetch_one(&mut **tx)
    .await
}
