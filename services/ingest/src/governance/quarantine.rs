use std::collections::BTreeSet;

use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_ledger::{jcs, leaf::QuarantineReleaseLeaf};
use openarchive_proto::ingest::v1::QuarantinedMessage;
use openarchive_schema::{TenantScope, begin};
use tonic::Code;

use super::{acts, check_leaf, refused};
use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// The mail is not in quarantine, or was released from it.
pub const NOT_QUARANTINED: &str = "NOT_QUARANTINED";

/// Quarantined mails of one list, at most.
pub(crate) const QUARANTINE_LIST_MAX: u32 = 1_000;
/// As many where nobody says how many.
const QUARANTINE_LIST_DEFAULT: u32 = 100;
/// Observations that one leaf releases, at most.
const RELEASED_TOGETHER_MAX: i64 = 1_000;

/// Mail that did not fit its peer's mode and was not released, oldest first: each mail once, with its first reason.
pub(crate) async fn quarantined(
    core: &Core,
    tenant: &Tenant,
    after_ordinal: u64,
    limit: u32,
) -> Result<Vec<QuarantinedMessage>, Failure> {
    if limit > QUARANTINE_LIST_MAX {
        return Err(FieldError::new("limit", format!("at most {QUARANTINE_LIST_MAX}")).into());
    }
    let limit = if limit == 0 { QUARANTINE_LIST_DEFAULT } else { limit };
    let rows = sqlx::query!(
        "select m.message, m.ordinal, m.archived_at, first.agent, first.reason
         from ingest.message m
         cross join lateral (
           select o.agent, o.reason from ingest.observation o
           where o.tenant = m.tenant and o.message = m.message and o.state = 'quarantined' and not exists (
             select from ingest.quarantine_release r where r.tenant = o.tenant and r.leaf_index = o.leaf_index)
           order by o.recorded_at, o.agent, o.instance, o.seq limit 1
         ) first
         where m.tenant = $1 and m.ordinal > $2 and m.shred is null
         order by m.ordinal limit $3",
        tenant.as_str(),
        i64::try_from(after_ordinal).unwrap_or(i64::MAX),
        i64::from(limit),
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| QuarantinedMessage {
            message: row.message.into(),
            ordinal: row.ordinal as u64,
            agent: row.agent,
            reason: row.reason,
            archived_at: Timestamp::from_millis(row.archived_at).to_string(),
        })
        .collect())
}

/// Takes a mail off the list. Answers the index of the last leaf that says so.
pub(crate) async fn release(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
    actor: &str,
) -> Result<u64, Failure> {
    let row = sqlx::query!(
        "select shred from ingest.message where tenant = $1 and message = $2",
        tenant.as_str(),
        message.as_bytes().as_slice(),
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    match row {
        None => return Err(refused(Some("unknown"))),
        Some(row) if row.shred.is_some() => return Err(refused(Some("shredding"))),
        Some(_) => {}
    }
    let mut last = None;
    while let Some(leaves) = waiting(core, tenant, message).await? {
        last = Some(release_leaves(core, tenant, message, leaves, actor).await?);
    }
    let nothing = "the mail is not in quarantine, or was released before";
    last.ok_or_else(|| Failure::refused(Code::FailedPrecondition, NOT_QUARANTINED, nothing))
}

/// Its quarantined observations that nobody has released; none: all are.
async fn waiting(core: &Core, tenant: &Tenant, message: &Digest) -> Result<Option<BTreeSet<u64>>, Failure> {
    let rows = sqlx::query_scalar!(
        "select o.leaf_index from ingest.observation o
         where o.tenant = $1 and o.message = $2 and o.state = 'quarantined' and not exists (
           select from ingest.quarantine_release r where r.tenant = o.tenant and r.leaf_index = o.leaf_index)
         order by o.leaf_index nulls first limit $3",
        tenant.as_str(),
        message.as_bytes().as_slice(),
        RELEASED_TOGETHER_MAX,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let leaves = rows.into_iter().map(|index| index.map(|index| index as u64));
    // It came this very moment: its leaf is not durable yet.
    leaves.collect::<Option<_>>().ok_or_else(|| refused(None)).map(Some)
}

async fn release_leaves(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
    leaves: BTreeSet<u64>,
    actor: &str,
) -> Result<u64, Failure> {
    let numbers: Vec<i64> = leaves.iter().map(|index| *index as i64).collect();
    let now = core.clock.now();
    let (owner, actor) = (tenant.clone().into(), actor.to_owned());
    let leaf = QuarantineReleaseLeaf { tenant: owner, leaves, actor, occurred_at: now };
    check_leaf(&leaf.body())?;
    let key = leaf.idempotency_key();
    let body = jcs::canonicalize(&leaf.body()).map_err(|error| Failure::Damaged(error.to_string()))?;
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.release_quarantine($1, $2, $3, $4, $5, $6)",
        tenant.as_str(),
        message.as_bytes().as_slice(),
        &numbers,
        now.as_millis(),
        key.as_bytes().as_slice(),
        body,
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() != Some("released") {
        return Err(refused(outcome.as_deref()));
    }
    tx.commit().await?;
    acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &key).await
}
