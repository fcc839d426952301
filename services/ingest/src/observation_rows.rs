//! Rows of `ingest.observation`, read by seat or by message.

use std::collections::BTreeMap;

use openarchive_domain::{AgentName, Digest, RetentionClass, Seat, Tenant, Timestamp};
use openarchive_ledger::leaf::{MessageState, uuid_text};
use openarchive_schema::{TenantScope, Transaction, begin};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

/// One agent's number: unique within a tenant.
pub(crate) type SeatKey = (AgentName, Seat);

/// One observation as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservationRow {
    pub(crate) agent: AgentName,
    pub(crate) seat: Seat,
    pub(crate) message: Digest,
    pub(crate) state: MessageState,
    pub(crate) reason: String,
    pub(crate) class: RetentionClass,
    /// Digest of the observation blob.
    pub(crate) record: Digest,
    pub(crate) occurred_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    /// None until its leaf is durable.
    pub(crate) leaf_index: Option<u64>,
}

/// As the database gives it.
struct RawRow {
    agent: String,
    instance: Uuid,
    agent_epoch: String,
    seq: i64,
    message: Vec<u8>,
    state: String,
    reason: String,
    class: String,
    record: Vec<u8>,
    occurred_at: i64,
    recorded_at: i64,
    leaf_index: Option<i64>,
}

impl TryFrom<RawRow> for ObservationRow {
    type Error = sqlx::Error;

    fn try_from(row: RawRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            agent: row.agent.parse().map_err(undecodable)?,
            seat: Seat {
                instance: row.instance.into_bytes(),
                agent_epoch: row.agent_epoch.parse().map_err(undecodable)?,
                seq: row.seq as u64,
            },
            message: row.message.as_slice().try_into().map_err(undecodable)?,
            state: row.state.parse().map_err(undecodable)?,
            reason: row.reason,
            class: row.class.parse().map_err(undecodable)?,
            record: row.record.as_slice().try_into().map_err(undecodable)?,
            occurred_at: Timestamp::from_millis(row.occurred_at),
            recorded_at: Timestamp::from_millis(row.recorded_at),
            leaf_index: row.leaf_index.map(|index| index as u64),
        })
    }
}

impl ObservationRow {
    pub(crate) fn key(&self) -> SeatKey {
        (self.agent.clone(), self.seat)
    }
}

/// A value in the database that its type does not allow.
pub(crate) fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Bytes as PostgreSQL reads them from JSON text.
pub(crate) fn bytea(bytes: &[u8]) -> String {
    format!("\\x{}", hex::encode(bytes))
}

/// Adds the columns of a seat to a JSON row for `jsonb_to_recordset`.
pub(crate) fn with_seat(mut row: Value, (agent, seat): &SeatKey) -> Value {
    row["agent"] = agent.as_str().into();
    row["instance"] = uuid_text(&seat.instance).into();
    row["agent_epoch"] = seat.agent_epoch.to_string().into();
    row["seq"] = seat.seq.into();
    row
}

pub(crate) fn seat_rows(seats: &[SeatKey]) -> Value {
    seats.iter().map(|seat| with_seat(json!({}), seat)).collect()
}

/// The observations that stand at these seats.
pub(crate) async fn at_seats(
    pool: &PgPool,
    tenant: &Tenant,
    seats: &[SeatKey],
) -> Result<BTreeMap<SeatKey, ObservationRow>, sqlx::Error> {
    at_seats_in(&mut begin(pool, TenantScope::One(tenant)).await?, tenant, seats).await
}

/// The same, as a transaction sees it.
pub(crate) async fn at_seats_in(
    tx: &mut Transaction,
    tenant: &Tenant,
    seats: &[SeatKey],
) -> Result<BTreeMap<SeatKey, ObservationRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RawRow,
        r#"select o.agent, o.instance, o.agent_epoch::text as "agent_epoch!", o.seq, o.message, o.state, o.reason,
             o.class, o.record, o.occurred_at, o.recorded_at, o.leaf_index
           from jsonb_to_recordset($2::jsonb) as s(agent text, instance uuid, agent_epoch numeric, seq bigint)
           join ingest.observation o
             on o.tenant = $1 and o.agent = s.agent and o.instance = s.instance
               and o.agent_epoch = s.agent_epoch and o.seq = s.seq"#,
        tenant.as_str(),
        seat_rows(seats)
    )
    .fetch_all(&mut **tx)
    .await?;
    let row = |row: RawRow| ObservationRow::try_from(row).map(|row| (row.key(), row));
    rows.into_iter().map(row).collect()
}

/// The first observations of a message, oldest first, at most `limit`. Those whose content was shredded are not shown.
pub(crate) async fn of_message(
    pool: &PgPool,
    tenant: &Tenant,
    message: &Digest,
    limit: i64,
) -> Result<Vec<ObservationRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RawRow,
        r#"select agent, instance, agent_epoch::text as "agent_epoch!", seq, message, state, reason, class, record,
             occurred_at, recorded_at, leaf_index
           from ingest.observation o where tenant = $1 and message = $2 and not exists (
             select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
           order by recorded_at, leaf_index nulls last, agent, instance, agent_epoch, seq limit $3"#,
        tenant.as_str(),
        message.as_bytes().as_slice(),
        limit
    )
    .fetch_all(&mut *begin(pool, TenantScope::One(tenant)).await?)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// All observations of a tenant after a seat, in the order of seats, at most `limit`: for checking them one by one.
pub(crate) async fn after(
    pool: &PgPool,
    tenant: &Tenant,
    last: Option<&SeatKey>,
    limit: i64,
) -> Result<Vec<ObservationRow>, sqlx::Error> {
    // Before every agent: names are not empty.
    let (agent, seat) = match last {
        Some((agent, seat)) => (agent.as_str(), *seat),
        None => ("", Seat { instance: [0; 16], agent_epoch: 0, seq: 0 }),
    };
    let rows = sqlx::query_as!(
        RawRow,
        r#"select agent, instance, agent_epoch::text as "agent_epoch!", seq, message, state, reason, class, record,
             occurred_at, recorded_at, leaf_index
           from ingest.observation
           where tenant = $1 and agent >= $2 and (agent, instance, agent_epoch, seq) > ($2, $3, $4::text::numeric, $5)
           order by agent, instance, agent_epoch, seq limit $6"#,
        tenant.as_str(),
        agent,
        Uuid::from_bytes(seat.instance),
        seat.agent_epoch.to_string(),
        seat.seq as i64,
        limit
    )
    .fetch_all(&mut *begin(pool, TenantScope::One(tenant)).await?)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}
