use openarchive_domain::{Tenant, Timestamp};
use openarchive_proto::ingest::v1::QuarantinedMessage;
use openarchive_schema::{TenantScope, begin};

use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// Quarantined mails of one list, at most.
pub(crate) const QUARANTINE_LIST_MAX: u32 = 1_000;
/// As many where nobody says how many.
const QUARANTINE_LIST_DEFAULT: u32 = 100;

/// Mail that did not fit its peer's mode, oldest first: each mail once, with its first reason.
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
           where o.tenant = m.tenant and o.message = m.message and o.state = 'quarantined'
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
