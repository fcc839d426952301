//! Does the archive have every number that its agents gave out?

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use openarchive_domain::{AgentName, Tenant, Timestamp};
use openarchive_proto::ingest::v1::{CompletenessRequest, CompletenessRow, SeqRange};
use openarchive_schema::{TenantScope, begin};
use uuid::Uuid;

use super::parse_tenant;
use crate::{
    core::Core,
    failure::{Failure, FieldError},
    observation_rows::undecodable,
};

/// Most gaps that are named of one number space: the first.
pub(crate) const GAPS_MAX: i64 = 1_000;
/// A number space that has been silent for this long while another one of the same agent reports is at its end: its disk
/// was lost or rolled back, and what it gave out last never comes. In milliseconds; agents report each minute.
pub(crate) const SILENCE_MILLIS: i64 = 10 * 60 * 1_000;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    tenant: Tenant,
    /// None: every agent.
    agent: Option<AgentName>,
    /// Milliseconds, the first inclusive, the last exclusive, by the agents' clocks.
    occurred: (i64, i64),
}

impl Question {
    pub(super) fn parse(request: &CompletenessRequest) -> Result<Self, FieldError> {
        let agent = match request.agent.as_str() {
            "" => None,
            name => {
                Some(name.parse().map_err(|_| FieldError::new("agent", "the name of an agent, or empty"))?)
            }
        };
        let occurred = match request.day.as_str() {
            "" => (i64::MIN, i64::MAX),
            day => day_of(day).ok_or_else(|| FieldError::new("day", "a date as YYYY-MM-DD, or empty"))?,
        };
        Ok(Self { tenant: parse_tenant(&request.tenant)?, agent, occurred })
    }

    /// Numbers announced without any observation belong to no day.
    fn is_of_all_time(&self) -> bool {
        self.occurred == (i64::MIN, i64::MAX)
    }
}

fn day_of(day: &str) -> Option<(i64, i64)> {
    let start: Timestamp = format!("{day}T00:00:00.000Z").parse().ok()?;
    Some((start.as_millis(), start.as_millis() + DAY_MILLIS))
}

type Space = (String, Uuid, String);

/// One row for each number space with an observation in the time asked for. A gap counts to the time of the number
/// that ends it, so that a number missing between two days is missed on the second.
pub(super) async fn answer(core: &Core, question: &Question) -> Result<Vec<CompletenessRow>, Failure> {
    let mut gaps = gaps(core, question).await?;
    let agent = question.agent.as_ref().map(AgentName::as_str);
    let (from, to) = question.occurred;
    let rows = sqlx::query!(
        r#"with committed as (
             select agent, instance, agent_epoch,
               min(seq) filter (where occurred_at >= $3 and occurred_at < $4) as first_seq,
               max(seq) filter (where occurred_at >= $3 and occurred_at < $4) as last_seq,
               max(seq) as highest_seq,
               count(*) filter (where state = 'stored' and occurred_at >= $3 and occurred_at < $4) as stored,
               count(*) filter (where state = 'duplicate' and occurred_at >= $3 and occurred_at < $4) as duplicate,
               count(*) filter (where state = 'quarantined' and occurred_at >= $3 and occurred_at < $4)
                 as quarantined
             from ingest.observation where tenant = $1 and ($2::text is null or agent = $2)
             group by agent, instance, agent_epoch
           ), reported as (
             select agent, instance, agent_epoch, announced_seq, exists (
               select from ingest.agent other
               where other.tenant = $1 and other.agent = mine.agent and other.last_seen > mine.last_seen + $6
             ) as ended
             from ingest.agent mine where tenant = $1 and ($2::text is null or agent = $2)
           )
           select agent as "agent!", instance as "instance!", agent_epoch::text as "agent_epoch!",
             coalesce(first_seq, 0) as "first_seq!", coalesce(last_seq, 0) as "last_seq!",
             coalesce(announced_seq, 0) as "announced_seq!", coalesce(stored, 0) as "stored!",
             coalesce(duplicate, 0) as "duplicate!", coalesce(quarantined, 0) as "quarantined!",
             coalesce(highest_seq, 0) as "highest_seq!", coalesce(ended, false) as "ended!"
           from committed full join reported using (agent, instance, agent_epoch)
           where first_seq is not null or $5
           order by agent, instance, agent_epoch"#,
        question.tenant.as_str(),
        agent,
        from,
        to,
        question.is_of_all_time(),
        SILENCE_MILLIS
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(&question.tenant)).await?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let space = (row.agent.clone(), row.instance, row.agent_epoch.clone());
            let mut gaps = gaps.remove(&space).unwrap_or_default();
            let mut pending = (row.announced_seq - row.highest_seq).max(0) as u64;
            // What a lost disk had accepted belongs to no day.
            if row.ended && pending > 0 && question.is_of_all_time() {
                let (first, last) = (row.highest_seq as u64 + 1, row.announced_seq as u64);
                gaps.push(SeqRange { first, last });
                pending = 0;
            }
            Ok(CompletenessRow {
                agent: row.agent,
                instance: row.instance.into_bytes().to_vec().into(),
                agent_epoch: row.agent_epoch.parse().map_err(undecodable)?,
                first_seq: row.first_seq as u64,
                last_seq: row.last_seq as u64,
                announced_seq: row.announced_seq as u64,
                stored: row.stored as u64,
                duplicate: row.duplicate as u64,
                quarantined: row.quarantined as u64,
                gaps,
                pending,
            })
        })
        .collect()
}

/// Numbers count from 1 without gaps, so each observation must follow the one before it, and the first be 1.
async fn gaps(core: &Core, question: &Question) -> Result<BTreeMap<Space, Vec<SeqRange>>, Failure> {
    let (from, to) = question.occurred;
    let rows = sqlx::query!(
        r#"with counted as (
             select agent, instance, agent_epoch, seq, occurred_at,
               lag(seq, 1, 0::bigint) over (partition by agent, instance, agent_epoch order by seq) as before
             from ingest.observation where tenant = $1 and ($2::text is null or agent = $2)
           ), gap as (
             select agent, instance, agent_epoch, before + 1 as first, seq - 1 as last,
               row_number() over (partition by agent, instance, agent_epoch order by seq) as place
             from counted where seq > before + 1 and occurred_at >= $3 and occurred_at < $4
           )
           select agent as "agent!", instance as "instance!", agent_epoch::text as "agent_epoch!",
             first as "first!", last as "last!"
           from gap where place <= $5
           order by agent, instance, agent_epoch, first"#,
        question.tenant.as_str(),
        question.agent.as_ref().map(AgentName::as_str),
        from,
        to,
        GAPS_MAX
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(&question.tenant)).await?)
    .await?;
    let mut gaps: BTreeMap<Space, Vec<SeqRange>> = BTreeMap::new();
    for row in rows {
        let space = (row.agent, row.instance, row.agent_epoch);
        gaps.entry(space).or_default().push(SeqRange { first: row.first as u64, last: row.last as u64 });
    }
    Ok(gaps)
}
