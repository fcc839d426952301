//! Filling an empty catalogue from what outlives it: observation blobs, message blobs and the evidence log.
//!
//! What a leaf says stands. Where two observation blobs were written for one seat, the one that opens the leaf
//! counts. An observation without a leaf was about to be recorded when the database was lost: it gets its row and its
//! leaf now if its message is complete. May be stopped at any point and run again.

mod acts;
mod holds;
mod observations;
mod policies;
mod revocations;
mod shreds;

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Clock, Digest, Tenant};
use openarchive_envelope::BlobKind;
use openarchive_ledger::leaf::MessageState;
use openarchive_rpc::RpcChannel;
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;

use crate::{
    blob_store::BlobStore,
    evidence_scan,
    failure::Failure,
    finding::{Finding, OnProgress, Progress, Step},
    ledger_client::LedgerClient,
    outbox,
    recording::leaf_body,
};
use observations::{Found, Observations};

/// What a rebuild did, over all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Observations that stand in the log and have their row again.
    pub restored: u64,
    /// Observations that had no leaf yet and have been recorded now.
    pub recorded: u64,
    /// Observation blobs that count for nothing: left by commits that ended early.
    pub unreferenced: u64,
    /// What could not be restored.
    pub damage: Vec<Finding>,
}

/// What the rebuild of one tenant works with.
struct Rebuild<'r> {
    pool: &'r PgPool,
    blobs: BlobStore,
    ledger: LedgerClient,
    tenant: &'r Tenant,
    clock: &'r dyn Clock,
    progress: OnProgress<'r>,
    report: &'r mut RebuildReport,
}

/// What is kept of a message leaf while the observations are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LeafNote {
    index: u64,
    state: MessageState,
    /// Of the leaf's canonical body without its time.
    body: Digest,
}

/// Rows that are there already are kept, so a stopped rebuild goes on where it stopped. Reads `storage.pack_entry`
/// itself (storage knows no list of blobs by kind): for the composition root, with the rights of an administrator,
/// after storage and trust have been rebuilt.
pub async fn rebuild(
    pool: &PgPool,
    storage: RpcChannel,
    trust: RpcChannel,
    tenants: &[Tenant],
    clock: &dyn Clock,
    progress: OnProgress<'_>,
) -> Result<RebuildReport, Failure> {
    let mut report = RebuildReport::default();
    let (blobs, ledger) = (BlobStore::new(storage), LedgerClient::new(trust));
    for tenant in tenants {
        let (blobs, ledger) = (blobs.clone(), ledger.clone());
        let mut rebuild = Rebuild { pool, blobs, ledger, tenant, clock, progress, report: &mut report };
        rebuild.run().await?;
    }
    policies::restore(pool, &blobs, &ledger, &mut report).await?;
    Ok(report)
}

impl Rebuild<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        self.suspend().await?;
        let acts = evidence_scan::acts(&self.ledger, self.tenant).await?;
        let leaves = self.note_leaves().await?;
        let found = self.find_observations(&leaves).await?;
        let (going, live): (Vec<_>, Vec<_>) =
            found.with_leaf.into_iter().partition(|(note, _)| acts.shredded.contains(&note.index));
        self.restore(live).await?;
        self.restore_shreds(&acts.shreds, going).await?;
        self.record_leafless(found.without_leaf).await?;
        let mut unexplained = leaves;
        unexplained.retain(|_, note| !acts.shredded.contains(&note.index));
        self.name_leaves_without_observation(unexplained).await?;
        self.restore_holds(&acts.holds).await?;
        self.restore_quarantine_releases(&acts.quarantine_releases).await?;
        self.restore_resumptions(&acts.resumptions).await?;
        self.restore_agents().await?;
        self.restore_revocations().await?;
        outbox::sweep(self.pool, &self.ledger, self.tenant, i64::MAX).await
    }

    fn say(&self, step: Step, done: u64, total: u64) {
        (self.progress)(Progress { tenant: self.tenant.clone(), step, done, total });
    }

    /// Every message leaf of the log by its idempotency key, which follows from the seat.
    async fn note_leaves(&mut self) -> Result<BTreeMap<Digest, LeafNote>, Failure> {
        let (mut notes, mut start) = (BTreeMap::new(), 0);
        while let Some(page) = evidence_scan::page(&self.ledger, self.tenant, start).await? {
            for (index, leaf) in page.leaves {
                match leaf {
                    Ok(leaf) => {
                        let body = Digest::of(leaf_body(&leaf).as_bytes());
                        notes.insert(leaf.idempotency_key(), LeafNote { index, state: leaf.state, body });
                    }
                    Err(error) => {
                        let (tenant, why) = (self.tenant.clone(), error.to_string());
                        self.report.damage.push(Finding::LeafUnreadable { tenant, index, why });
                    }
                }
            }
            start = page.end;
            self.say(Step::Leaves, page.end, page.size);
        }
        Ok(notes)
    }

    /// Looks through all observation blobs that have no row yet.
    async fn find_observations(
        &mut self,
        leaves: &BTreeMap<Digest, LeafNote>,
    ) -> Result<Observations, Failure> {
        let recorded = self.recorded_blobs().await?;
        let (mut found, mut after, mut done) = (Observations::default(), None, 0);
        loop {
            let names = self.blobs_after(BlobKind::Observation, after.as_ref()).await?;
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            done += names.len() as u64;
            let unread: Vec<_> = names.into_iter().filter(|name| !recorded.contains(&name.digest)).collect();
            for (name, record) in self.read_records(unread).await? {
                match Found::of(&record, leaves.get(&record.idempotency_key())) {
                    Found::OfLeaf(note) => found.with_leaf.push((note, name)),
                    Found::WithoutLeaf => found.without_leaf.push((record.recorded_at, name)),
                    Found::Unreferenced => self.report.unreferenced += 1,
                }
            }
            self.say(Step::Observations, done, 0);
        }
        found.sort();
        Ok(found)
    }

    async fn recorded_blobs(&self) -> Result<BTreeSet<Digest>, Failure> {
        let rows =
            sqlx::query!("select record from ingest.observation where tenant = $1", self.tenant.as_str())
                .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
                .await?;
        let digest = |record: Vec<u8>| record.as_slice().try_into().ok();
        Ok(rows.into_iter().filter_map(|row| digest(row.record)).collect())
    }

    /// Every leaf must have found its observation, now or in an earlier run.
    async fn name_leaves_without_observation(
        &mut self,
        mut leaves: BTreeMap<Digest, LeafNote>,
    ) -> Result<(), Failure> {
        let tenant = self.tenant;
        let rows =
            sqlx::query!("select idempotency_key from ingest.observation where tenant = $1", tenant.as_str())
                .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
                .await?;
        for row in rows {
            if let Ok(key) = Digest::try_from(row.idempotency_key.as_slice()) {
                leaves.remove(&key);
            }
        }
        let left: BTreeSet<u64> = leaves.into_values().map(|note| note.index).collect();
        let finding = |index| Finding::LeafWithoutObservation { tenant: tenant.clone(), index };
        self.report.damage.extend(left.into_iter().map(finding));
        Ok(())
    }

    /// What agents announced is gone; what they committed is a lower bound of it.
    async fn restore_agents(&self) -> Result<(), Failure> {
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        sqlx::query!(
            "insert into ingest.agent (tenant, agent, instance, agent_epoch, announced_seq, last_seen)
             select tenant, agent, instance, agent_epoch, max(seq), max(recorded_at)
             from ingest.observation where tenant = $1 group by tenant, agent, instance, agent_epoch
             on conflict do nothing",
            self.tenant.as_str()
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
