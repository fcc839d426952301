//! Whether catalogue, storage and evidence log still tell the same story.

mod acts;
mod leaves;
mod messages;
mod policies;

use std::collections::BTreeSet;

use openarchive_domain::Tenant;
use openarchive_rpc::RpcChannel;
use sqlx::PgPool;

use crate::{
    blob_store::BlobStore,
    evidence_scan,
    failure::Failure,
    finding::{Finding, OnProgress, Progress, Step},
    ledger_client::LedgerClient,
};

/// What the check of one tenant works with.
struct Check<'c> {
    pool: &'c PgPool,
    blobs: BlobStore,
    ledger: LedgerClient,
    tenant: &'c Tenant,
    progress: OnProgress<'c>,
    findings: &'c mut Vec<Finding>,
    /// Message leaves whose mail the log orders to be shredded.
    shredded: BTreeSet<u64>,
}

/// Rebuilds every message, opens every leaf, and compares every row with what was recorded. Changes nothing. Mail
/// that is archived meanwhile is neither missed nor accused. Empty: nothing is wrong.
///
/// Reads `storage` and `trust` through their services; that those are whole is for their own checks.
pub async fn fsck(
    pool: &PgPool,
    storage: RpcChannel,
    trust: RpcChannel,
    tenants: &[Tenant],
    progress: OnProgress<'_>,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let (blobs, ledger) = (BlobStore::new(storage), LedgerClient::new(trust));
    for tenant in tenants {
        let (blobs, ledger) = (blobs.clone(), ledger.clone());
        let acts = evidence_scan::acts(&ledger, tenant).await?;
        let shredded = acts.shredded.clone();
        let mut check = Check { pool, blobs, ledger, tenant, progress, findings: &mut findings, shredded };
        check.messages().await?;
        let matched = check.leaves().await?;
        check.observations(&matched).await?;
        check.acts(&acts).await?;
    }
    policies::check(pool, &blobs, &ledger, &mut findings).await?;
    Ok(findings)
}

impl Check<'_> {
    fn say(&self, step: Step, done: u64, total: u64) {
        (self.progress)(Progress { tenant: self.tenant.clone(), step, done, total });
    }
}
