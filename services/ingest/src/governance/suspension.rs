use openarchive_domain::{Tenant, Timestamp};
use openarchive_ledger::{jcs, leaf::ResumeLeaf};
use openarchive_schema::{TenantScope, begin};

use super::{acts, check_leaf, refused};
use crate::{core::Core, failure::Failure};

/// Since when nothing may be shredded; none: it may.
pub(super) async fn suspended_at(core: &Core, tenant: &Tenant) -> Result<Option<Timestamp>, Failure> {
    let row =
        sqlx::query_scalar!("select suspended_at from ingest.suspension where tenant = $1", tenant.as_str())
            .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
            .await?;
    Ok(row.flatten().map(Timestamp::from_millis))
}

/// Somebody has looked at what the rebuild made, holds above all, and lets shredding go on. Answers the leaf's index.
pub(crate) async fn lift(core: &Core, tenant: &Tenant, actor: &str) -> Result<u64, Failure> {
    let leaf =
        ResumeLeaf { tenant: tenant.clone().into(), actor: actor.to_owned(), occurred_at: core.clock.now() };
    check_leaf(&leaf.body())?;
    let key = leaf.idempotency_key();
    let body = jcs::canonicalize(&leaf.body()).map_err(|error| Failure::Damaged(error.to_string()))?;
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.lift_suspension($1, $2, $3)",
        tenant.as_str(),
        key.as_bytes().as_slice(),
        body,
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() != Some("lifted") {
        return Err(refused(outcome.as_deref()));
    }
    tx.commit().await?;
    acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &key).await
}
