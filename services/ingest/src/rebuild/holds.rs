//! Holds, from their leaves and the encrypted records that those name.

use openarchive_domain::{Digest, RetentionClass};
use openarchive_ledger::leaf::{HoldAction, HoldLeaf};
use openarchive_schema::{TenantScope, begin};

use super::Rebuild;
use crate::{
    blob_store::{BlobError, BlobName},
    failure::Failure,
    finding::Finding,
    governance::{HOLD_RECORD_BYTES_MAX, HoldRecord},
};

impl Rebuild<'_> {
    /// Nothing is shredded until a person has seen what the rebuild made. Stays as it is where it was suspended before.
    pub(super) async fn suspend(&self) -> Result<(), Failure> {
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        sqlx::query!(
            "insert into ingest.suspension (tenant, suspended_at) values ($1, $2)
             on conflict (tenant) do update set suspended_at = coalesce(suspension.suspended_at, excluded.suspended_at)",
            self.tenant.as_str(),
            self.clock.now().as_millis(),
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// In the order of the log, so a release finds its hold. Holds that are there already are kept, and get mail that they
    /// lack.
    pub(super) async fn restore_holds(&mut self, holds: &[(u64, HoldLeaf)]) -> Result<(), Failure> {
        for (index, leaf) in holds {
            if leaf.tenant.as_str() != self.tenant.as_str() {
                continue;
            }
            match leaf.action {
                HoldAction::Released => self.restore_release(*index, leaf).await?,
                HoldAction::Set { record } => match self.hold_record(&record).await? {
                    Ok(found) => self.restore_hold(*index, leaf, &record, &found).await?,
                    Err(why) => {
                        let tenant = self.tenant.clone();
                        self.report.damage.push(Finding::RecordDamaged { tenant, record, why });
                    }
                },
            }
        }
        Ok(())
    }

    /// The inner error says why the record is no hold's.
    async fn hold_record(&self, record: &Digest) -> Result<Result<HoldRecord, String>, Failure> {
        let name = BlobName::State(*record);
        let read = self.blobs.read(self.tenant, RetentionClass::System, name, HOLD_RECORD_BYTES_MAX).await;
        Ok(match read {
            Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
            Err(damage) => Err(damage.to_string()),
            Ok(bytes) => HoldRecord::decode(&bytes)
                .filter(|found| found.tenant == *self.tenant)
                .ok_or_else(|| "it is no record of a hold of this tenant".to_owned()),
        })
    }

    async fn restore_hold(
        &self,
        index: u64,
        leaf: &HoldLeaf,
        digest: &Digest,
        record: &HoldRecord,
    ) -> Result<(), Failure> {
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        let act = self.restore_act(&mut tx, index, leaf.idempotency_key(), &leaf.body()).await?;
        if let Some(act) = act {
            sqlx::query!(
                "insert into ingest.hold (tenant, hold, reason, query, record, created_at, created_by, created_act)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
                self.tenant.as_str(),
                record.hold,
                record.reason,
                record.query,
                digest.as_bytes().as_slice(),
                record.created_at.as_millis(),
                record.created_by,
                act,
            )
            .execute(&mut *tx)
            .await?;
        }
        // What was shredded after its hold was released has no row any more. A hold that is there already may lack mail
        // that had no row either when it was restored, because its pack was damaged: by now it may have one.
        let messages: Vec<Vec<u8>> =
            record.messages.iter().map(|message| message.as_bytes().to_vec()).collect();
        sqlx::query!(
            "insert into ingest.hold_message (tenant, hold, message)
             select h.tenant, h.hold, m.message from ingest.hold h
             join ingest.message m on m.tenant = h.tenant and m.message = any($3)
             where h.tenant = $1 and h.hold = $2 and h.released_at is null
             on conflict do nothing",
            self.tenant.as_str(),
            record.hold,
            &messages,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn restore_release(&self, index: u64, leaf: &HoldLeaf) -> Result<(), Failure> {
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        let Some(act) = self.restore_act(&mut tx, index, leaf.idempotency_key(), &leaf.body()).await? else {
            return Ok(());
        };
        sqlx::query!(
            "update ingest.hold set released_at = $3, released_by = $4, released_act = $5
             where tenant = $1 and hold = $2",
            self.tenant.as_str(),
            leaf.hold,
            leaf.occurred_at.as_millis(),
            leaf.actor,
            act,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
