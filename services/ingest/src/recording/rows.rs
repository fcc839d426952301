//! The statements of the transaction, one for each table. Rows travel as one JSON value, so that a batch is one
//! statement whatever its size.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::leaf::uuid_text;
use openarchive_schema::Transaction;
use serde_json::{Value, json};

use super::{Decided, LeafIs, NewObservation, leaf_body};
use crate::{
    catalogue_entry::{Role, envelope_participants},
    observation_rows::{bytea, undecodable, with_seat},
    offer::Arrival,
};

/// Makes commits of one (agent, instance, epoch) wait for each other until the transaction ends. What they read of
/// its seats is then final.
pub(super) async fn lock_number_spaces(
    tx: &mut Transaction,
    tenant: &Tenant,
    batch: &[NewObservation],
) -> Result<(), sqlx::Error> {
    let keys: BTreeSet<i64> = batch.iter().map(|new| lock_key(tenant, new)).collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    // unnest answers in the order of the array, which is sorted.
    sqlx::query!(
        r#"select pg_advisory_xact_lock(key)::text as "locked" from unnest($1::bigint[]) as key"#,
        &keys
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

/// Two spaces that share a key by chance only wait for each other.
fn lock_key(tenant: &Tenant, new: &NewObservation) -> i64 {
    let seat = new.record.offer.seat;
    let (agent, instance) = (&new.record.agent.name, uuid_text(&seat.instance));
    let space = format!("ingest|{tenant}|{agent}|{instance}|{}", seat.agent_epoch);
    let digest = Digest::of(space.as_bytes());
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest has more than eight bytes");
    i64::from_be_bytes(*first)
}

/// Inserts the messages that are not there yet and answers which those are. Waits for transactions that are
/// inserting the same message. Ordinals follow the order of the batch.
pub(super) async fn insert_messages(
    tx: &mut Transaction,
    tenant: &Tenant,
    first_of: &BTreeMap<Digest, &NewObservation>,
    batch: &[&NewObservation],
) -> Result<BTreeSet<Digest>, sqlx::Error> {
    let ordinals = draw_ordinals(tx, first_of.len()).await?;
    let mut ordinal_of: BTreeMap<Digest, i64> = BTreeMap::new();
    let mut ordinals = ordinals.into_iter();
    for new in batch {
        if let std::collections::btree_map::Entry::Vacant(entry) = ordinal_of.entry(new.message())
            && let Some(ordinal) = ordinals.next()
        {
            entry.insert(ordinal);
        }
    }
    let rows = first_of.iter().map(|(message, new)| message_columns(message, new, ordinal_of.get(message)));
    let rows = Value::Array(rows.collect());
    let inserted = sqlx::query!(
        r#"insert into ingest.message
             (ordinal, tenant, message, length, class, skeleton, flags, subject, header_from, header_to, header_cc,
              header_date, message_id, attachments, archived_at)
           overriding system value
           select r.ordinal, $1, r.message, r.length, r.class, r.skeleton, r.flags, r.subject, r.header_from,
             r.header_to, r.header_cc, r.header_date, r.message_id, r.attachments, r.archived_at
           from jsonb_to_recordset($2::jsonb) as r(ordinal bigint, message bytea, length bigint, class text,
             skeleton bytea, flags text[], subject text, header_from text, header_to text[], header_cc text[],
             header_date bigint, message_id text, attachments text[], archived_at bigint)
           order by r.message
           on conflict do nothing
           returning message"#,
        tenant.as_str(),
        rows
    )
    .fetch_all(&mut **tx)
    .await?;
    inserted.into_iter().map(|row| row.message.as_slice().try_into().map_err(undecodable)).collect()
}

async fn draw_ordinals(tx: &mut Transaction, count: usize) -> Result<BTreeSet<i64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select nextval(pg_get_serial_sequence('ingest.message', 'ordinal')) as "ordinal!"
           from generate_series(1, $1::bigint)"#,
        count as i64
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.ordinal).collect())
}

pub(super) fn message_columns(message: &Digest, new: &NewObservation, ordinal: Option<&i64>) -> Value {
    let (offer, entry) = (&new.record.offer, &new.entry);
    json!({
        "ordinal": ordinal,
        "message": bytea(message.as_bytes()),
        "length": offer.length,
        "class": new.record.class.to_string(),
        "skeleton": bytea(offer.skeleton.as_bytes()),
        "flags": offer.flags,
        "subject": entry.subject,
        "header_from": entry.from,
        "header_to": entry.to,
        "header_cc": entry.cc,
        "header_date": entry.date.map(openarchive_domain::Timestamp::as_millis),
        "message_id": entry.message_id,
        "attachments": entry.attachments,
        "archived_at": new.record.recorded_at.as_millis(),
    })
}

pub(super) async fn insert_parts(
    tx: &mut Transaction,
    tenant: &Tenant,
    new_messages: &BTreeMap<Digest, &NewObservation>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<Value> = new_messages
        .iter()
        .flat_map(|(message, new)| {
            let message = bytea(message.as_bytes());
            new.record.offer.parts.iter().map(move |(part, length)| {
                json!({ "message": message, "part": bytea(part.as_bytes()), "length": length })
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into ingest.message_part (tenant, message, part, length)
         select $1, r.message, r.part, r.length
         from jsonb_to_recordset($2::jsonb) as r(message bytea, part bytea, length bigint)",
        tenant.as_str(),
        Value::Array(rows)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Header participants of new messages; envelope participants of every observation, for a further one may name
/// others than the first.
pub(super) async fn insert_participants(
    tx: &mut Transaction,
    tenant: &Tenant,
    new_messages: &BTreeMap<Digest, &NewObservation>,
    decided: &[Decided<'_>],
) -> Result<(), sqlx::Error> {
    let mut all: BTreeSet<(Digest, Role, String)> = BTreeSet::new();
    for (message, new) in new_messages {
        all.extend(new.entry.participants.iter().map(|(role, address)| (*message, *role, address.clone())));
    }
    for Decided { new, .. } in decided {
        let envelope = envelope_participants(&new.record.offer.envelope);
        all.extend(envelope.into_iter().map(|(role, address)| (new.message(), role, address)));
    }
    if all.is_empty() {
        return Ok(());
    }
    // A set: sorted, so that every transaction takes these keys in the same order.
    let rows = all.into_iter().map(|(message, role, address)| {
        json!({ "message": bytea(message.as_bytes()), "role": role.as_str(), "address": address })
    });
    sqlx::query!(
        "insert into ingest.participant (tenant, message, role, address)
         select $1, r.message, r.role, r.address
         from jsonb_to_recordset($2::jsonb) as r(message bytea, role text, address text)
         on conflict do nothing",
        tenant.as_str(),
        Value::Array(rows.collect())
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_observations(
    tx: &mut Transaction,
    tenant: &Tenant,
    decided: &[Decided<'_>],
) -> Result<(), sqlx::Error> {
    let rows = decided.iter().map(|Decided { new, state }| {
        let (offer, record) = (&new.record.offer, &new.record);
        let reason = match &offer.arrival {
            Arrival::Accepted => "",
            Arrival::Quarantined { reason } => reason.as_str(),
        };
        let leaf_index = match new.leaf {
            LeafIs::ToAppend => None,
            LeafIs::Standing { index, .. } => Some(index),
        };
        let columns = json!({
            "message": bytea(offer.message.as_bytes()),
            "state": state.as_str(),
            "reason": reason,
            "class": record.class.to_string(),
            "record": bytea(new.blob.as_bytes()),
            "occurred_at": offer.occurred_at.as_millis(),
            "recorded_at": record.recorded_at.as_millis(),
            "idempotency_key": bytea(record.idempotency_key().as_bytes()),
            "leaf_index": leaf_index,
        });
        with_seat(columns, &new.key())
    });
    sqlx::query!(
        "insert into ingest.observation
           (tenant, agent, instance, agent_epoch, seq, message, state, reason, class, record, occurred_at,
            recorded_at, idempotency_key, leaf_index)
         select $1, r.agent, r.instance, r.agent_epoch, r.seq, r.message, r.state, r.reason, r.class, r.record,
           r.occurred_at, r.recorded_at, r.idempotency_key, r.leaf_index
         from jsonb_to_recordset($2::jsonb) as r(agent text, instance uuid, agent_epoch numeric, seq bigint,
           message bytea, state text, reason text, class text, record bytea, occurred_at bigint,
           recorded_at bigint, idempotency_key bytea, leaf_index bigint)",
        tenant.as_str(),
        Value::Array(rows.collect())
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// In the order of the batch: it becomes the order of the leaves.
pub(super) async fn insert_outbox(
    tx: &mut Transaction,
    tenant: &Tenant,
    decided: &[Decided<'_>],
) -> Result<(), sqlx::Error> {
    let to_append = decided.iter().filter(|decided| decided.new.leaf == LeafIs::ToAppend);
    let rows = to_append.enumerate().map(|(place, Decided { new, state })| {
        let columns = json!({
            "place": place,
            "idempotency_key": bytea(new.record.idempotency_key().as_bytes()),
            "body": leaf_body(&new.record.leaf(*state)),
        });
        with_seat(columns, &new.key())
    });
    let rows: Vec<Value> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"insert into ingest.outbox (tenant, agent, instance, agent_epoch, seq, idempotency_key, body)
           select $1, r.agent, r.instance, r.agent_epoch, r.seq, r.idempotency_key, r.body
           from jsonb_to_recordset($2::jsonb) as r(place bigint, agent text, instance uuid, agent_epoch numeric,
             seq bigint, idempotency_key bytea, body text)
           order by r.place"#,
        tenant.as_str(),
        Value::Array(rows)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A job for each new message, and one for each further observation of a message: agents and blind copies come with
/// each of them. The latter have a key of their own, so that none is taken for a job that is under way and has read the
/// catalogue before this transaction.
pub(super) async fn insert_index_jobs(
    tx: &mut Transaction,
    tenant: &Tenant,
    new_messages: &BTreeSet<Digest>,
    decided: &[Decided<'_>],
) -> Result<(), sqlx::Error> {
    let mut messages: Vec<String> = new_messages.iter().map(Digest::hex).collect();
    let mut keys = messages.clone();
    for Decided { new, .. } in decided.iter().filter(|decided| !new_messages.contains(&decided.new.message()))
    {
        messages.push(new.message().hex());
        keys.push(format!("{}+{}", new.message().hex(), new.record.idempotency_key().hex()));
    }
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into jobs.job (kind, tenant, payload, unique_key, traceparent)
         select 'index', $1, jsonb_build_object('message', j.message), j.key, $4
         from unnest($2::text[], $3::text[]) as j(message, key)
         on conflict do nothing",
        tenant.as_str(),
        &messages,
        &keys,
        openarchive_telemetry::propagation::traceparent()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
