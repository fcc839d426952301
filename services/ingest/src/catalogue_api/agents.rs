use openarchive_domain::{AgentRef, Tenant, Timestamp};
use openarchive_proto::ingest::v1::AgentSummary;
use openarchive_schema::{TenantScope, begin};
use sqlx::types::Uuid;

use super::completeness::SILENCE_MILLIS;
use crate::{core::Core, failure::Failure, observation_rows::undecodable};

/// Numbers that one agent's summary looks back over for missing ones, in each number space: who asks each minute pays for no
/// more.
const LOOK_BACK_SEQS_MAX: i64 = 10_000;

/// A number space of an agent, as the database says it.
struct Row {
    agent: String,
    instance: Uuid,
    agent_epoch: String,
    highest_seq: i64,
    announced_seq: i64,
    buffered_messages: i64,
    last_seen: i64,
    version: String,
    draining: bool,
    certificate_not_after: Option<i64>,
    certificate_sha256: Option<Vec<u8>>,
    last_leaf_index: Option<i64>,
    missing: i64,
}

/// Every number space that an agent has reported on or committed to. A commit does not count as having been seen where there is
/// a report: what is said to be buffered was so then. Looks at every observation of the tenant.
pub(super) async fn list(core: &Core, tenant: &Tenant) -> Result<Vec<AgentSummary>, Failure> {
    let rows = sqlx::query_as!(
        Row,
        r#"with committed as (
             select agent, instance, agent_epoch, max(seq) as highest_seq, max(recorded_at) as recorded_at
             from ingest.observation where tenant = $1 group by agent, instance, agent_epoch
           ), reported as (
             select agent, instance, agent_epoch, announced_seq, buffered_messages, last_seen, version, draining,
               certificate_not_after, certificate_sha256
             from ingest.agent where tenant = $1
           )
           select agent as "agent!", instance as "instance!", agent_epoch::text as "agent_epoch!",
             coalesce(highest_seq, 0) as "highest_seq!", coalesce(announced_seq, 0) as "announced_seq!",
             coalesce(buffered_messages, 0) as "buffered_messages!",
             coalesce(last_seen, recorded_at) as "last_seen!", coalesce(version, '') as "version!",
             coalesce(draining, false) as "draining!", certificate_not_after as "certificate_not_after?",
             certificate_sha256 as "certificate_sha256?", null::bigint as "last_leaf_index?", 0::bigint as "missing!"
           from committed full join reported using (agent, instance, agent_epoch)
           order by agent, instance, agent_epoch"#,
        tenant.as_str()
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    rows.into_iter().map(summary).collect()
}

/// What one agent has reported and how far it is, or, where nobody knows a report (after a rebuild), one of its last commits.
/// Found by key.
pub(super) async fn of(core: &Core, agent: &AgentRef) -> Result<Vec<AgentSummary>, Failure> {
    let rows = sqlx::query_as!(
        Row,
        r#"with reported as (select * from ingest.agent where tenant = $1 and agent = $2)
           (select mine.agent as "agent!", mine.instance as "instance!", mine.agent_epoch::text as "agent_epoch!",
             coalesce(highest.seq, 0) as "highest_seq!", mine.announced_seq as "announced_seq!",
             mine.buffered_messages as "buffered_messages!", mine.last_seen as "last_seen!", mine.version as "version!",
             mine.draining as "draining!", mine.certificate_not_after as "certificate_not_after?",
             mine.certificate_sha256 as "certificate_sha256?", leaf.leaf_index as "last_leaf_index?",
             least(coalesce(highest.seq, 0), $3) - near.seqs
               + case when exists (select from reported other where other.last_seen > mine.last_seen + $4)
                 then greatest(mine.announced_seq - coalesce(highest.seq, 0), 0) else 0 end as "missing!"
           from reported mine
           left join lateral (
             select seq from ingest.observation o
             where o.tenant = $1 and o.agent = $2 and o.instance = mine.instance and o.agent_epoch = mine.agent_epoch
             order by seq desc limit 1
           ) highest on true
           left join lateral (
             select leaf_index from ingest.observation o
             where o.tenant = $1 and o.agent = $2 and o.instance = mine.instance and o.agent_epoch = mine.agent_epoch
               and leaf_index is not null
             order by seq desc limit 1
           ) leaf on true
           cross join lateral (
             select count(*) as seqs from ingest.observation o
             where o.tenant = $1 and o.agent = $2 and o.instance = mine.instance and o.agent_epoch = mine.agent_epoch
               and seq > highest.seq - $3
           ) near
           order by mine.instance, mine.agent_epoch)
           union all
           (select agent, instance, agent_epoch::text, seq, 0, 0, recorded_at, '', false, null::bigint, null::bytea,
             leaf_index, 0
           from ingest.observation where tenant = $1 and agent = $2 and not exists (select from reported)
           order by instance desc, observation.agent_epoch desc, seq desc limit 1)"#,
        agent.tenant.as_str(),
        agent.name.as_str(),
        LOOK_BACK_SEQS_MAX,
        SILENCE_MILLIS
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(&agent.tenant)).await?)
    .await?;
    rows.into_iter().map(summary).collect()
}

fn summary(row: Row) -> Result<AgentSummary, Failure> {
    Ok(AgentSummary {
        agent: row.agent,
        instance: row.instance.into_bytes().to_vec().into(),
        agent_epoch: row.agent_epoch.parse().map_err(undecodable)?,
        highest_seq: row.highest_seq as u64,
        announced_seq: row.announced_seq as u64,
        buffered_messages: row.buffered_messages as u64,
        last_seen: Timestamp::from_millis(row.last_seen).to_string(),
        version: row.version,
        certificate_not_after: row
            .certificate_not_after
            .map(|time| Timestamp::from_millis(time).to_string())
            .unwrap_or_default(),
        certificate_sha256: row.certificate_sha256.unwrap_or_default().into(),
        draining: row.draining,
        last_leaf_index: row.last_leaf_index.map(|index| index as u64),
        missing: row.missing as u64,
    })
}
