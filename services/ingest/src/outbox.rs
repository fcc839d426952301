//! Leaves that are decided but not yet known to be durable: each row stays until its leaf's index is back.
//!
//! Whoever sees a row may send it, as often as it likes: appends are idempotent by key, and the row disappears in the
//! statement that writes the index.

mod sweeper;

pub(crate) use sweeper::{Sweeper, sweep};

use std::{collections::BTreeMap, sync::Arc};

use openarchive_domain::{AgentName, Digest, Seat, Tenant};
use openarchive_ledger::leaf::MessageLeaf;
use openarchive_schema::{TenantScope, TransactionError, begin, run_tx};
use serde_json::{Value, json};
use sqlx::PgPool;
use tracing::error;

use crate::{
    failure::Failure,
    ledger_client::{BATCH_MAX, Entry, LedgerClient},
    observation_rows::{SeatKey, seat_rows, undecodable},
    recording::leaf_body,
};

/// One leaf to be appended.
#[derive(Debug, Clone)]
pub(crate) struct OutboxRow {
    outbox_id: i64,
    key: SeatKey,
    entry: Entry,
}

impl OutboxRow {
    pub(crate) const fn key(&self) -> &SeatKey {
        &self.key
    }
}

/// A leaf of the log as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandingLeaf {
    pub(crate) index: u64,
    pub(crate) bytes: Vec<u8>,
}

struct RawRow {
    outbox_id: i64,
    agent: String,
    instance: uuid::Uuid,
    agent_epoch: String,
    seq: i64,
    idempotency_key: Vec<u8>,
    body: String,
}

impl TryFrom<RawRow> for OutboxRow {
    type Error = sqlx::Error;

    fn try_from(row: RawRow) -> Result<Self, sqlx::Error> {
        let agent: AgentName = row.agent.parse().map_err(undecodable)?;
        let seat = Seat {
            instance: row.instance.into_bytes(),
            agent_epoch: row.agent_epoch.parse().map_err(undecodable)?,
            seq: row.seq as u64,
        };
        let idempotency_key: Digest = row.idempotency_key.as_slice().try_into().map_err(undecodable)?;
        Ok(Self {
            outbox_id: row.outbox_id,
            key: (agent, seat),
            entry: Entry { idempotency_key, body: row.body },
        })
    }
}

/// The rows of these seats, in the order in which they were written.
pub(crate) async fn rows_of(
    pool: &PgPool,
    tenant: &Tenant,
    seats: &[SeatKey],
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RawRow,
        r#"select o.outbox_id, o.agent, o.instance, o.agent_epoch::text as "agent_epoch!", o.seq, o.idempotency_key,
             o.body
           from jsonb_to_recordset($2::jsonb) as s(agent text, instance uuid, agent_epoch numeric, seq bigint)
           join ingest.outbox o
             on o.tenant = $1 and o.agent = s.agent and o.instance = s.instance
               and o.agent_epoch = s.agent_epoch and o.seq = s.seq
           order by o.outbox_id"#,
        tenant.as_str(),
        seat_rows(seats)
    )
    .fetch_all(&mut *begin(pool, TenantScope::One(tenant)).await?)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The oldest rows of a tenant, up to and including `last`.
async fn oldest_rows(
    pool: &PgPool,
    tenant: &Tenant,
    after: i64,
    last: i64,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RawRow,
        r#"select outbox_id, agent, instance, agent_epoch::text as "agent_epoch!", seq, idempotency_key, body
           from ingest.outbox where tenant = $1 and outbox_id > $2 and outbox_id <= $3
           order by outbox_id limit $4"#,
        tenant.as_str(),
        after,
        last,
        BATCH_MAX as i64
    )
    .fetch_all(&mut *begin(pool, TenantScope::One(tenant)).await?)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Sends rows to the log and writes the indices that come back. Answers the leaves by seat. A row whose seat has
/// another leaf in the log than the row says is left alone and reported: the catalogue is older than the log.
pub(crate) async fn settle(
    pool: &PgPool,
    ledger: &LedgerClient,
    tenant: &Tenant,
    rows: Vec<OutboxRow>,
) -> Result<BTreeMap<SeatKey, StandingLeaf>, Failure> {
    let mut settled = BTreeMap::new();
    for group in rows.chunks(BATCH_MAX) {
        let leaves = ledger
            .append(&tenant.clone().into(), group.iter().map(|row| row.entry.clone()).collect())
            .await?;
        let mut indices = Vec::new();
        for (row, leaf) in group.iter().zip(leaves) {
            if !is_leaf_of(&row.entry.body, &leaf.body) {
                error!(%tenant, index = leaf.index, "the log holds another leaf for a seat than the catalogue");
                continue;
            }
            indices.push(json!({ "outbox_id": row.outbox_id, "leaf_index": leaf.index }));
            settled.insert(row.key.clone(), StandingLeaf { index: leaf.index, bytes: leaf.body.to_vec() });
        }
        write_indices(pool, tenant, Value::Array(indices)).await?;
    }
    Ok(settled)
}

/// Whether stored leaf bytes are this body with a time.
fn is_leaf_of(body: &str, leaf: &[u8]) -> bool {
    MessageLeaf::parse(leaf).is_ok_and(|stamped| leaf_body(&stamped.leaf) == body)
}

/// Index in and row gone, in one statement. A row that another call has settled meanwhile changes nothing.
async fn write_indices(pool: &PgPool, tenant: &Tenant, indices: Value) -> Result<(), TransactionError> {
    let indices = Arc::new(indices);
    run_tx(pool, "settle_outbox", TenantScope::One(tenant), |tx| {
        let indices = Arc::clone(&indices);
        Box::pin(async move {
            sqlx::query!(
                "with sent as (
                   select outbox_id, leaf_index from jsonb_to_recordset($1::jsonb)
                     as r(outbox_id bigint, leaf_index bigint)
                 ), gone as (
                   delete from ingest.outbox o using sent where o.outbox_id = sent.outbox_id
                   returning o.tenant, o.agent, o.instance, o.agent_epoch, o.seq, sent.leaf_index
                 )
                 update ingest.observation o set leaf_index = gone.leaf_index from gone
                 where o.tenant = gone.tenant and o.agent = gone.agent and o.instance = gone.instance
                   and o.agent_epoch = gone.agent_epoch and o.seq = gone.seq",
                &*indices
            )
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use openarchive_ledger::{commitment::Commitment, leaf};

    use super::*;

    #[test]
    fn a_leaf_is_a_rows_own_only_if_nothing_but_the_time_was_added() {
        let leaf = MessageLeaf {
            tenant: "acme".parse().unwrap(),
            agent: "mx1".parse().unwrap(),
            seat: Seat { instance: [1; 16], agent_epoch: 2, seq: 3 },
            class: openarchive_domain::RetentionClass::DEFAULT,
            state: openarchive_ledger::leaf::MessageState::Stored,
            message: Commitment::new([4; 32]),
            envelope: Commitment::new([5; 32]),
            occurred_at: openarchive_domain::Timestamp::from_millis(6),
        };
        let stamped = |leaf: &MessageLeaf| {
            leaf::stamp(leaf.body(), openarchive_domain::Timestamp::from_millis(7)).unwrap()
        };
        assert!(is_leaf_of(&leaf_body(&leaf), &stamped(&leaf)));
        let other = MessageLeaf { message: Commitment::new([9; 32]), ..leaf.clone() };
        assert!(!is_leaf_of(&leaf_body(&leaf), &stamped(&other)));
        assert!(!is_leaf_of(&leaf_body(&leaf), b"{}"));
    }
}
