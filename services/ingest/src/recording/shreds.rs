//! Recording mail while other mail is being shredded: what a new mail refers to must not go meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, Tenant};
use openarchive_schema::{TenantScope, Transaction, begin};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{NewObservation, rows::message_columns};
use crate::{
    blob_store::BlobName,
    observation_rows::{bytea, undecodable},
};

/// Which shreds had been ordered before blobs were looked at: later ones may have taken them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShredsSeen(i64);

impl ShredsSeen {
    /// For records that are restored: what was shredded has no record any more.
    pub(crate) const ALL: Self = Self(i64::MAX);

    /// Those ordered until now.
    pub(crate) async fn now(pool: &PgPool, tenant: &Tenant) -> Result<Self, sqlx::Error> {
        let seen = sqlx::query_scalar!(
            r#"select coalesce(max(generation), 0) as "seen!" from ingest.shred where tenant = $1"#,
            tenant.as_str()
        )
        .fetch_one(&mut *begin(pool, TenantScope::One(tenant)).await?)
        .await?;
        Ok(Self(seen))
    }
}

/// Places in the batch of mails whose blobs are being shredded, or were since they were looked at. Keeps further
/// shreds from being ordered until the transaction ends.
pub(super) async fn blobs_gone(
    tx: &mut Transaction,
    tenant: &Tenant,
    batch: &[NewObservation],
    seen: ShredsSeen,
) -> Result<BTreeSet<usize>, sqlx::Error> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock_shared(hashtextextended('openarchive purge ' || $1, 0))::text as "locked""#,
        tenant.as_str()
    )
    .fetch_one(&mut **tx)
    .await?;
    if seen == ShredsSeen::ALL {
        return Ok(BTreeSet::new());
    }
    let recent = sqlx::query_scalar!(
        r#"select exists (select from ingest.shred
             where tenant = $1 and (state = 'shredding' or generation > $2)) as "recent!""#,
        tenant.as_str(),
        seen.0
    )
    .fetch_one(&mut **tx)
    .await?;
    if !recent {
        return Ok(BTreeSet::new());
    }
    let rows = batch.iter().enumerate().flat_map(|(place, new)| {
        let offer = &new.record.offer;
        let parts = offer.parts.keys().copied().map(BlobName::Part);
        let blobs = parts.chain([BlobName::Skeleton(offer.skeleton)]);
        blobs.map(move |blob| {
            let (kind, digest) = blob.column();
            let class = new.record.class.to_string();
            json!({ "place": place, "kind": kind, "digest": bytea(digest.as_bytes()), "class": class })
        })
    });
    let places = sqlx::query_scalar!(
        r#"select distinct r.place as "place!"
           from jsonb_to_recordset($2::jsonb) as r(place bigint, kind smallint, digest bytea, class text)
           join ingest.shred_blob b
             on b.tenant = $1 and b.digest = r.digest and b.kind = r.kind and b.class = r.class
           join ingest.shred s on s.tenant = b.tenant and s.shred = b.shred
           where s.state = 'shredding' or s.generation > $3"#,
        tenant.as_str(),
        Value::Array(rows.collect()),
        seen.0
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(places.into_iter().map(|place| place as usize).collect())
}

/// Mail that comes again after its content was shredded is new: its row speaks again. Answers which that is.
pub(super) async fn revive_messages(
    tx: &mut Transaction,
    tenant: &Tenant,
    first_of: &BTreeMap<Digest, &NewObservation>,
    inserted: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, sqlx::Error> {
    let known = first_of.iter().filter(|(message, _)| !inserted.contains(*message));
    let rows: Vec<Value> = known.map(|(message, new)| message_columns(message, new, None)).collect();
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let revived = sqlx::query_scalar!(
        r#"select revived as "revived!" from ingest.revive_messages($1, $2) as revived"#,
        tenant.as_str(),
        Value::Array(rows)
    )
    .fetch_all(&mut **tx)
    .await?;
    revived.into_iter().map(|message| message.as_slice().try_into().map_err(undecodable)).collect()
}
