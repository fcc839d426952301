use openarchive_domain::Digest;
use openarchive_ledger::{jcs, origin::TenantOrArchive};
use openarchive_schema::{TenantScope, begin, run_tx};
use serde_json::Value;
use sqlx::PgPool;
use tracing::error;

use crate::{
    failure::Failure,
    ledger_client::{Entry, LedgerClient},
    observation_rows::undecodable,
};

/// Acts that are sent together.
const ACTS_TOGETHER_MAX: i64 = 100;

struct Act {
    act_id: i64,
    entry: Entry,
}

/// Whose rows a transaction about this owner's acts works on.
fn rows_of(owner: &TenantOrArchive) -> TenantScope<'_> {
    match owner {
        TenantOrArchive::Archive => TenantScope::Archive,
        TenantOrArchive::Tenant(tenant) => TenantScope::One(tenant),
    }
}

/// The index of an act's leaf. Durable when it answers; sent now if that has not happened yet.
pub(crate) async fn settle(
    pool: &PgPool,
    ledger: &LedgerClient,
    owner: &TenantOrArchive,
    key: &Digest,
) -> Result<u64, Failure> {
    let row = sqlx::query!(
        "select act_id, body, leaf_index from ingest.act where tenant = $1 and idempotency_key = $2",
        owner.as_str(),
        key.as_bytes().as_slice(),
    )
    .fetch_optional(&mut *begin(pool, rows_of(owner)).await?)
    .await?;
    let row = row.ok_or_else(|| Failure::Damaged("an act has no row".to_owned()))?;
    if let Some(index) = row.leaf_index {
        return Ok(index as u64);
    }
    let act = Act { act_id: row.act_id, entry: Entry { idempotency_key: *key, body: row.body } };
    let indices = send(pool, ledger, owner, &[act]).await?;
    let index = indices.first().copied().flatten();
    index.ok_or_else(|| Failure::Damaged("the evidence log holds another leaf for an act".to_owned()))
}

/// Sends acts that were decided by calls which ended before their leaf was durable.
pub(crate) async fn sweep(
    pool: &PgPool,
    ledger: &LedgerClient,
    owner: &TenantOrArchive,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let rows = sqlx::query!(
            "select act_id, idempotency_key, body from ingest.act
             where tenant = $1 and leaf_index is null and act_id > $2 order by act_id limit $3",
            owner.as_str(),
            after,
            ACTS_TOGETHER_MAX,
        )
        .fetch_all(&mut *begin(pool, rows_of(owner)).await?)
        .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.act_id;
        let acts = rows.into_iter().map(|row| {
            let idempotency_key = row.idempotency_key.as_slice().try_into().map_err(undecodable)?;
            Ok(Act { act_id: row.act_id, entry: Entry { idempotency_key, body: row.body } })
        });
        let acts: Vec<Act> = acts.collect::<Result<_, sqlx::Error>>()?;
        send(pool, ledger, owner, &acts).await?;
    }
}

/// None for an act whose key has another leaf in the log: it stays unsent, for a person to look at.
async fn send(
    pool: &PgPool,
    ledger: &LedgerClient,
    owner: &TenantOrArchive,
    acts: &[Act],
) -> Result<Vec<Option<u64>>, Failure> {
    let leaves = ledger.append(owner, acts.iter().map(|act| act.entry.clone()).collect()).await?;
    let mut indices = Vec::with_capacity(acts.len());
    for (act, leaf) in acts.iter().zip(leaves) {
        if !is_leaf_of(&act.entry.body, &leaf.body) {
            error!(%owner, index = leaf.index, "the log holds another leaf for an act than the catalogue");
            indices.push(None);
            continue;
        }
        let (act_id, index) = (act.act_id, leaf.index as i64);
        run_tx(pool, "settle_act", rows_of(owner), |tx| {
            Box::pin(async move {
                sqlx::query!("update ingest.act set leaf_index = $2 where act_id = $1", act_id, index)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            })
        })
        .await?;
        indices.push(Some(leaf.index));
    }
    Ok(indices)
}

/// Whether stored leaf bytes are this body with a time.
fn is_leaf_of(body: &str, leaf: &[u8]) -> bool {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(leaf) else { return false };
    fields.remove("time").is_some()
        && jcs::canonicalize(&Value::Object(fields)).is_ok_and(|text| text == body)
}
