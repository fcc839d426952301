//! Acts that stand in the log, as rows.

use openarchive_domain::Digest;
use openarchive_ledger::{
    jcs,
    leaf::{QuarantineReleaseLeaf, ResumeLeaf},
};
use openarchive_schema::{TenantScope, Transaction, begin};
use serde_json::Value;

use super::Rebuild;
use crate::failure::Failure;

impl Rebuild<'_> {
    /// None: it was restored before.
    pub(super) async fn restore_act(
        &self,
        tx: &mut Transaction,
        index: u64,
        key: Digest,
        body: &Value,
    ) -> Result<Option<i64>, Failure> {
        let body = jcs::canonicalize(body).map_err(|error| Failure::Damaged(error.to_string()))?;
        let act = sqlx::query_scalar!(
            "insert into ingest.act (tenant, idempotency_key, body, leaf_index) values ($1, $2, $3, $4)
             on conflict (tenant, idempotency_key) do nothing returning act_id",
            self.tenant.as_str(),
            key.as_bytes().as_slice(),
            body,
            index as i64,
        )
        .fetch_optional(&mut **tx)
        .await?;
        Ok(act)
    }

    /// That a suspension was lifted once: it is suspended again since this rebuild.
    pub(super) async fn restore_resumptions(&self, resumptions: &[(u64, ResumeLeaf)]) -> Result<(), Failure> {
        for (index, leaf) in resumptions {
            if leaf.tenant.as_str() == self.tenant.as_str() {
                let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
                self.restore_act(&mut tx, *index, leaf.idempotency_key(), &leaf.body()).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Mail that was let out of quarantine stays out.
    pub(super) async fn restore_quarantine_releases(
        &self,
        releases: &[(u64, QuarantineReleaseLeaf)],
    ) -> Result<(), Failure> {
        for (index, leaf) in releases {
            if leaf.tenant.as_str() != self.tenant.as_str() {
                continue;
            }
            let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
            let act = self.restore_act(&mut tx, *index, leaf.idempotency_key(), &leaf.body()).await?;
            let Some(act) = act else { continue };
            let leaves: Vec<i64> = leaf.leaves.iter().map(|index| *index as i64).collect();
            sqlx::query!(
                "insert into ingest.quarantine_release (tenant, leaf_index, released_at, act_id)
                 select $1, leaf_index, $3, $4 from unnest($2::bigint[]) as leaf_index",
                self.tenant.as_str(),
                &leaves,
                leaf.occurred_at.as_millis(),
                act,
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
