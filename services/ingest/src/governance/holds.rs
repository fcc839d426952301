//! Holds. A hold keeps exactly the mail that its list named when it was set: what comes later and would match its query
//! needs a hold of its own. One mail may be under many holds, and is kept until the last one is released.

use std::collections::BTreeSet;

use openarchive_domain::{Digest, Tenant, Timestamp, random};
use openarchive_ledger::{
    jcs,
    leaf::{HoldAction, HoldLeaf},
};
use openarchive_proto::ingest::v1::HoldSummary;
use openarchive_schema::{TenantScope, begin};

use super::{HoldRecord, acts, check_leaf, refused};
use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// Mails of one hold, at most.
pub const HOLD_MESSAGES_MAX: usize = 100_000;
/// Longest reason of a hold, in bytes.
pub(crate) const HOLD_REASON_BYTES_MAX: usize = 2_000;
/// Longest query that is kept with a hold, in bytes: the index's own limit.
pub(crate) const HOLD_QUERY_BYTES_MAX: usize = 4_096;

/// A hold that is asked for.
pub(crate) struct HoldRequest {
    pub(crate) hold: String,
    pub(crate) reason: String,
    pub(crate) query: String,
    pub(crate) messages: Vec<Digest>,
    pub(crate) actor: String,
}

impl HoldRequest {
    fn check(&self) -> Result<(), FieldError> {
        // A name is a DNS label, like a tenant's.
        if self.hold.parse::<Tenant>().is_err() {
            return Err(FieldError::new("hold", "a DNS label of a-z, 0-9 and -"));
        }
        if self.reason.trim().is_empty() || self.reason.len() > HOLD_REASON_BYTES_MAX {
            return Err(FieldError::new(
                "reason",
                format!("given, in at most {HOLD_REASON_BYTES_MAX} bytes"),
            ));
        }
        if self.query.len() > HOLD_QUERY_BYTES_MAX {
            return Err(FieldError::new("query", format!("at most {HOLD_QUERY_BYTES_MAX} bytes")));
        }
        if self.reason.contains('\0') || self.query.contains('\0') {
            return Err(FieldError::new("reason", "text without NUL"));
        }
        if self.messages.is_empty() || self.messages.len() > HOLD_MESSAGES_MAX {
            return Err(FieldError::new("messages", format!("1 to {HOLD_MESSAGES_MAX} mails")));
        }
        Ok(())
    }
}

/// Answers the index of the hold's leaf. Durable: the record that it can be restored from, the rows, the leaf.
pub(crate) async fn set_hold(core: &Core, tenant: &Tenant, request: HoldRequest) -> Result<u64, Failure> {
    request.check()?;
    let HoldRequest { hold, reason, query, messages, actor } = request;
    let messages: Vec<Digest> = messages.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let now = core.clock.now();
    let record = HoldRecord {
        tenant: tenant.clone(),
        hold,
        reason,
        query,
        messages,
        created_at: now,
        created_by: actor,
        salt: random::bytes(),
    };
    let bytes = record.encode();
    let digest = Digest::of(&bytes);
    let leaf = leaf(tenant, &record.hold, HoldAction::Set { record: digest }, &record.created_by, now);
    check_leaf(&leaf.body())?;
    let key = leaf.idempotency_key();
    let rows: Vec<Vec<u8>> = record.messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    // Before the record is made: one that no hold names would be kept for ever.
    refuse_absent(core, tenant, &rows).await?;
    core.blobs.put_state(&tenant.clone().into(), digest, bytes).await?;
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.set_hold($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant.as_str(),
        record.hold,
        record.reason,
        record.query,
        &rows,
        digest.as_bytes().as_slice(),
        now.as_millis(),
        record.created_by,
        key.as_bytes().as_slice(),
        body(&leaf),
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() != Some("set") {
        return Err(refused(outcome.as_deref()));
    }
    tx.commit().await?;
    acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &key).await
}

async fn refuse_absent(core: &Core, tenant: &Tenant, messages: &[Vec<u8>]) -> Result<(), Failure> {
    let row = sqlx::query!(
        r#"select count(*) as "known!", count(shred) as "gone!" from ingest.message
           where tenant = $1 and message = any($2)"#,
        tenant.as_str(),
        messages,
    )
    .fetch_one(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    match (row.known as usize, row.gone) {
        (known, _) if known < messages.len() => Err(refused(Some("unknown"))),
        (_, 0) => Ok(()),
        _ => Err(refused(Some("shredding"))),
    }
}

/// Answers the index of the release's leaf.
pub(crate) async fn release_hold(
    core: &Core,
    tenant: &Tenant,
    hold: &str,
    actor: &str,
) -> Result<u64, Failure> {
    let now = core.clock.now();
    let leaf = leaf(tenant, hold, HoldAction::Released, actor, now);
    check_leaf(&leaf.body())?;
    let key = leaf.idempotency_key();
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.release_hold($1, $2, $3, $4, $5, $6)",
        tenant.as_str(),
        hold,
        now.as_millis(),
        actor,
        key.as_bytes().as_slice(),
        body(&leaf),
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() != Some("released") {
        return Err(refused(outcome.as_deref()));
    }
    tx.commit().await?;
    acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &key).await
}

/// Oldest first. `message`: only those that it is under.
pub(crate) async fn list_holds(
    core: &Core,
    tenant: &Tenant,
    message: Option<Digest>,
    released_too: bool,
) -> Result<Vec<HoldSummary>, Failure> {
    let rows = sqlx::query!(
        r#"select hold, reason, query, created_at, created_by, released_at, released_by,
             (select count(*) from ingest.hold_message m where m.tenant = h.tenant and m.hold = h.hold) as "messages!"
           from ingest.hold h
           where tenant = $1 and ($3 or released_at is null)
             and ($2::bytea is null or exists (select from ingest.hold_message m
               where m.tenant = h.tenant and m.hold = h.hold and m.message = $2))
           order by created_at, hold"#,
        tenant.as_str(),
        message.as_ref().map(|message| message.as_bytes().as_slice()),
        released_too,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let time = |millis: i64| Timestamp::from_millis(millis).to_string();
    Ok(rows
        .into_iter()
        .map(|row| HoldSummary {
            hold: row.hold,
            reason: row.reason,
            query: row.query,
            messages: row.messages as u64,
            created_at: time(row.created_at),
            created_by: row.created_by,
            released_at: row.released_at.map(time).unwrap_or_default(),
            released_by: row.released_by.unwrap_or_default(),
        })
        .collect())
}

fn leaf(tenant: &Tenant, hold: &str, action: HoldAction, actor: &str, now: Timestamp) -> HoldLeaf {
    HoldLeaf {
        tenant: tenant.clone().into(),
        hold: hold.to_owned(),
        action,
        actor: actor.to_owned(),
        occurred_at: now,
    }
}

fn body(leaf: &HoldLeaf) -> String {
    jcs::canonicalize(&leaf.body()).expect("a hold leaf is strings, null and a 1 under ASCII keys")
}
