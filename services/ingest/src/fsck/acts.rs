//! What was done to mail: every act of the log has its row, and the rows say what the acts said. A hold that somebody
//! took out of the database is found here.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, RetentionClass};
use openarchive_ledger::leaf::{HoldAction, HoldLeaf};
use openarchive_schema::{TenantScope, begin};
use uuid::Uuid;

use super::Check;
use crate::{
    blob_store::{BlobError, BlobName},
    evidence_scan::Acts,
    failure::Failure,
    finding::Finding,
    governance::{HOLD_RECORD_BYTES_MAX, HoldRecord},
    observation_rows::undecodable,
};

/// A hold as its row has it.
struct HoldRow {
    record: Digest,
    /// The idempotency key of the act that released it.
    released: Option<Digest>,
    messages: BTreeSet<Digest>,
}

impl Check<'_> {
    /// Rows are read after the log: an act has its row before its leaf.
    pub(super) async fn acts(&mut self, acts: &Acts) -> Result<(), Failure> {
        self.act_rows(acts).await?;
        self.holds(acts).await?;
        self.shreds(acts).await?;
        self.quarantine_releases(acts).await
    }

    fn differs(&mut self, index: u64) {
        self.findings.push(Finding::ActDiffers { tenant: self.tenant.clone(), index });
    }

    async fn act_rows(&mut self, acts: &Acts) -> Result<(), Failure> {
        let rows = sqlx::query!(
            "select idempotency_key, leaf_index from ingest.act where tenant = $1",
            self.tenant.as_str(),
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        let mut known = BTreeSet::new();
        for row in rows {
            let key = Digest::try_from(row.idempotency_key.as_slice()).map_err(undecodable)?;
            known.insert(key);
            let index = row.leaf_index.map(|index| index as u64);
            // What came into the log meanwhile was not read.
            if let Some(index) = index.filter(|index| *index < acts.size)
                && acts.keys.get(&index) != Some(&key)
            {
                self.differs(index);
            }
        }
        for (index, key) in &acts.keys {
            if !known.contains(key) {
                self.findings.push(Finding::ActMissing { tenant: self.tenant.clone(), index: *index });
            }
        }
        Ok(())
    }

    async fn holds(&mut self, acts: &Acts) -> Result<(), Failure> {
        let rows = self.hold_rows().await?;
        let own = |leaf: &HoldLeaf| leaf.tenant.as_str() == self.tenant.as_str();
        let leaves: Vec<&(u64, HoldLeaf)> = acts.holds.iter().filter(|(_, leaf)| own(leaf)).collect();
        let released: BTreeSet<&str> = leaves
            .iter()
            .filter(|(_, leaf)| leaf.action == HoldAction::Released)
            .map(|(_, leaf)| leaf.hold.as_str())
            .collect();
        for (index, leaf) in &leaves {
            let release = HoldLeaf { action: HoldAction::Released, ..leaf.clone() }.idempotency_key();
            // A release that came into the log meanwhile has its own act, which is looked at with all acts.
            let row = rows.get(&leaf.hold).filter(|row| row.released.is_none_or(|key| key == release));
            match (leaf.action, row) {
                (HoldAction::Released, Some(row)) if row.released.is_some() => {}
                (HoldAction::Set { record }, Some(row)) if row.record == record => {
                    if !released.contains(leaf.hold.as_str()) {
                        self.held(*index, &record, row).await?;
                    }
                }
                _ => self.differs(*index),
            }
        }
        Ok(())
    }

    async fn hold_rows(&self) -> Result<BTreeMap<String, HoldRow>, Failure> {
        // A time of release without an act stands for an act that there cannot be.
        let rows = sqlx::query!(
            r#"select h.hold, h.record,
                 case when h.released_at is not null then coalesce(a.idempotency_key, h.record) end as released,
                 array(select m.message from ingest.hold_message m
                   where m.tenant = h.tenant and m.hold = h.hold) as "messages!: Vec<Vec<u8>>"
               from ingest.hold h left join ingest.act a on a.act_id = h.released_act
               where h.tenant = $1"#,
            self.tenant.as_str(),
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(undecodable);
        let rows = rows.into_iter().map(|row| {
            let messages = row.messages.iter().map(|message| digest(message)).collect::<Result<_, _>>()?;
            let released = row.released.as_deref().map(digest).transpose()?;
            Ok((row.hold, HoldRow { record: digest(&row.record)?, released, messages }))
        });
        Ok(rows.collect::<Result<_, sqlx::Error>>()?)
    }

    /// A hold that the log does not release holds all the mail that its record names.
    async fn held(&mut self, index: u64, record: &Digest, row: &HoldRow) -> Result<(), Failure> {
        let name = BlobName::State(*record);
        let read = self.blobs.read(self.tenant, RetentionClass::System, name, HOLD_RECORD_BYTES_MAX).await;
        let read = match read {
            Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
            Err(damage) => Err(damage.to_string()),
            Ok(bytes) => HoldRecord::decode(&bytes).ok_or_else(|| "it is no record of a hold".to_owned()),
        };
        match read {
            Err(why) => {
                let (tenant, record) = (self.tenant.clone(), *record);
                self.findings.push(Finding::RecordDamaged { tenant, record, why });
            }
            Ok(found) if found.messages.iter().all(|message| row.messages.contains(message)) => {}
            Ok(_) => self.differs(index),
        }
        Ok(())
    }

    async fn shreds(&mut self, acts: &Acts) -> Result<(), Failure> {
        let rows = sqlx::query!(
            r#"select s.shred, array(select o.leaf_index from ingest.shred_observation o
                 where o.tenant = s.tenant and o.shred = s.shred) as "leaves!: Vec<i64>"
               from ingest.shred s where s.tenant = $1"#,
            self.tenant.as_str(),
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        let rows: BTreeMap<Uuid, BTreeSet<u64>> = rows
            .into_iter()
            .map(|row| (row.shred, row.leaves.into_iter().map(|leaf| leaf as u64).collect()))
            .collect();
        for (index, leaf) in &acts.shreds {
            let own = leaf.tenant.as_str() == self.tenant.as_str();
            if own && rows.get(&Uuid::from_bytes(leaf.shred)) != Some(&leaf.leaves) {
                self.differs(*index);
            }
        }
        Ok(())
    }

    async fn quarantine_releases(&mut self, acts: &Acts) -> Result<(), Failure> {
        let rows = sqlx::query_scalar!(
            "select leaf_index from ingest.quarantine_release where tenant = $1",
            self.tenant.as_str(),
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        let rows: BTreeSet<u64> = rows.into_iter().map(|leaf| leaf as u64).collect();
        for (index, leaf) in &acts.quarantine_releases {
            if leaf.tenant.as_str() == self.tenant.as_str() && !leaf.leaves.is_subset(&rows) {
                self.differs(*index);
            }
        }
        Ok(())
    }
}
