//! Which mail's time is over. Only says so: what a plan names is shredded by orders of its own, which check everything
//! again.

use openarchive_domain::{Digest, RetentionClass, Tenant, Timestamp, expires_at};
use openarchive_proto::ingest::v1::{ExpiryLine, PlanExpiryResponse};
use openarchive_schema::{TenantScope, begin};

use super::suspension::suspended_at;
use crate::{core::Core, failure::Failure, observation_rows::undecodable};

/// Mails that one page looks through, at most.
pub(crate) const PLAN_MESSAGES_MAX: u32 = 1_000;

/// One page: of the next `limit` mails behind `after`, those that expire by `at`. A mail that was observed more than once
/// is kept for as long as the longest of its observations promised.
pub(crate) async fn plan(
    core: &Core,
    tenant: &Tenant,
    at: Option<Timestamp>,
    after: Option<Digest>,
    limit: u32,
) -> Result<PlanExpiryResponse, Failure> {
    let at = at.unwrap_or_else(|| core.clock.now());
    let limit = if limit == 0 { PLAN_MESSAGES_MAX } else { limit.min(PLAN_MESSAGES_MAX) };
    let after = after.map_or_else(Vec::new, |message| message.as_bytes().to_vec());
    let rows = sqlx::query!(
        r#"select m.message,
             array(select o.class from ingest.observation o
               where o.tenant = m.tenant and o.message = m.message and not exists (
                 select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
               order by o.recorded_at, o.agent, o.instance, o.seq) as "classes!: Vec<String>",
             array(select o.recorded_at from ingest.observation o
               where o.tenant = m.tenant and o.message = m.message and not exists (
                 select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
               order by o.recorded_at, o.agent, o.instance, o.seq) as "times!: Vec<i64>",
             array(select h.hold from ingest.hold_message hm join ingest.hold h using (tenant, hold)
               where hm.tenant = m.tenant and hm.message = m.message and h.released_at is null
               order by h.hold) as "holds!: Vec<String>"
           from ingest.message m
           where m.tenant = $1 and m.message > $2 and m.shred is null
           order by m.message limit $3"#,
        tenant.as_str(),
        after,
        i64::from(limit),
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let next = match rows.last() {
        Some(last) if rows.len() == limit as usize => last.message.clone(),
        _ => Vec::new(),
    };
    let mut lines = Vec::new();
    for row in rows {
        let latest = latest(&row.classes, &row.times)?;
        if let Some((expires, class)) = latest.filter(|(expires, _)| *expires <= at) {
            lines.push(ExpiryLine {
                message: row.message.into(),
                class: class.to_string(),
                expires_at: expires.to_string(),
                holds: row.holds,
            });
        }
    }
    let suspended_at = suspended_at(core, tenant).await?.map(|at| at.to_string()).unwrap_or_default();
    Ok(PlanExpiryResponse { lines, next: next.into(), suspended_at })
}

/// The observation that keeps a mail longest. None: one of them has no end that can be written.
fn latest(classes: &[String], times: &[i64]) -> Result<Option<(Timestamp, RetentionClass)>, sqlx::Error> {
    let mut latest = None;
    for (class, time) in classes.iter().zip(times) {
        let class: RetentionClass = class.parse().map_err(undecodable)?;
        let Ok(expires) = expires_at(class, Timestamp::from_millis(*time)) else { return Ok(None) };
        if latest.is_none_or(|(other, _)| expires > other) {
            latest = Some((expires, class));
        }
    }
    Ok(latest)
}
