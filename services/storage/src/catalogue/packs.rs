use std::collections::{HashMap, HashSet};

use openarchive_domain::{Digest, Timestamp};
use openarchive_envelope::{BlobKind, WrappedKey};
use openarchive_objects::ObjectKey;
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{StorageError, blob_id::Group};

/// A row of `storage.pack`.
#[derive(Debug, Clone)]
pub(crate) struct PackRow {
    pub(crate) pack_id: Uuid,
    pub(crate) group: Group,
    pub(crate) object_key: ObjectKey,
    pub(crate) key_file_key: ObjectKey,
    pub(crate) version_id: String,
    pub(crate) sha256: Digest,
    pub(crate) length: u64,
    /// With what it was extended by.
    pub(crate) lock_until: Option<Timestamp>,
    pub(crate) leaf_index: Option<u64>,
    /// Whether its leaf still waits to be sent.
    pub(crate) in_outbox: bool,
}

/// A row of `storage.pack_entry` or `storage.pack_copy`.
#[derive(Debug, Clone)]
pub(crate) struct EntryRow {
    pub(crate) ordinal: i32,
    pub(crate) kind: BlobKind,
    pub(crate) digest: Digest,
    pub(crate) raw_length: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) kek_version: u32,
    pub(crate) wrapped: Option<WrappedKey>,
    /// The leaf that ordered its key to be destroyed; the key may still be there.
    pub(crate) shred_leaf: Option<u64>,
}

pub(crate) async fn count_packs(pool: &PgPool) -> Result<u64, StorageError> {
    let mut tx = begin(pool, TenantScope::All).await?;
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from storage.pack"#).fetch_one(&mut *tx).await?;
    Ok(count as u64)
}

/// The tenants (or `_`) that have packs.
pub(crate) async fn pack_tenants(pool: &PgPool) -> Result<Vec<String>, StorageError> {
    let mut tx = begin(pool, TenantScope::All).await?;
    Ok(sqlx::query_scalar!("select distinct tenant from storage.pack").fetch_all(&mut *tx).await?)
}

/// Those of `packs` that have a row.
pub(crate) async fn known_packs(pool: &PgPool, packs: &[Uuid]) -> Result<HashSet<Uuid>, StorageError> {
    let known = sqlx::query_scalar!("select pack_id from storage.pack where pack_id = any($1)", packs)
        .fetch_all(&mut *begin(pool, TenantScope::All).await?)
        .await?;
    Ok(known.into_iter().collect())
}

/// What the catalogue says of a pack's leaf.
pub(crate) struct LeafOfPack {
    pub(crate) sha256: Digest,
    pub(crate) leaf_index: Option<u64>,
}

/// Of those of `packs` that have a row.
pub(crate) async fn leaves_of_packs(
    pool: &PgPool,
    packs: &[Uuid],
) -> Result<HashMap<Uuid, LeafOfPack>, StorageError> {
    let rows =
        sqlx::query!("select pack_id, sha256, leaf_index from storage.pack where pack_id = any($1)", packs)
            .fetch_all(&mut *begin(pool, TenantScope::All).await?)
            .await?;
    rows.into_iter()
        .map(|row| {
            let sha256 = Digest::try_from(row.sha256.as_slice());
            let sha256 = sha256.map_err(|_| StorageError::Row { table: "pack", column: "sha256" })?;
            Ok((row.pack_id, LeafOfPack { sha256, leaf_index: row.leaf_index.map(|index| index as u64) }))
        })
        .collect()
}

pub(crate) async fn pack_row(pool: &PgPool, pack_id: Uuid) -> Result<Option<PackRow>, StorageError> {
    let rows = select(pool, Some(pack_id), None, 1).await?;
    Ok(rows.into_iter().next())
}

/// At most `limit` packs with ids behind `after`, by id.
pub(crate) async fn pack_rows_after(
    pool: &PgPool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<PackRow>, StorageError> {
    select(pool, None, after, limit).await
}

async fn select(
    pool: &PgPool,
    only: Option<Uuid>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<PackRow>, StorageError> {
    let rows = sqlx::query!(
        r#"select pack_id, tenant, class, object_key, key_file_key, version_id, sha256, length, leaf_index,
             coalesce((select extended.lock_until from storage.pack_lock extended
               where extended.pack_id = pack.pack_id), lock_until) as lock_until,
             exists (select from storage.outbox where outbox.pack_id = pack.pack_id) as "in_outbox!"
           from storage.pack
           where ($1::uuid is null or pack_id = $1) and ($2::uuid is null or pack_id > $2)
           order by pack_id limit $3"#,
        only,
        after,
        limit,
    )
    .fetch_all(&mut *begin(pool, TenantScope::All).await?)
    .await?;
    let unreadable = |column| StorageError::Row { table: "pack", column };
    rows.into_iter()
        .map(|row| {
            Ok(PackRow {
                pack_id: row.pack_id,
                group: Group {
                    scope: row.tenant.parse().map_err(|_| unreadable("tenant"))?,
                    class: row.class.parse().map_err(|_| unreadable("class"))?,
                },
                object_key: row.object_key.parse().map_err(|_| unreadable("object_key"))?,
                key_file_key: row.key_file_key.parse().map_err(|_| unreadable("key_file_key"))?,
                version_id: row.version_id,
                sha256: Digest::try_from(row.sha256.as_slice()).map_err(|_| unreadable("sha256"))?,
                length: row.length as u64,
                lock_until: row.lock_until.map(Timestamp::from_millis),
                leaf_index: row.leaf_index.map(|index| index as u64),
                in_outbox: row.in_outbox,
            })
        })
        .collect()
}

/// The rows of one pack, by ordinal.
pub(crate) async fn entry_rows(pool: &PgPool, pack_id: Uuid) -> Result<Vec<EntryRow>, StorageError> {
    let rows = sqlx::query!(
        r#"select ordinal as "ordinal!", kind as "kind!", digest as "digest!", raw_length as "raw_length!",
             body_offset as "body_offset!", body_length as "body_length!", kek_version as "kek_version!", wrapped_dek,
             shred_leaf
           from (
             select ordinal, kind, digest, raw_length, body_offset, body_length, kek_version, wrapped_dek,
               null::bigint as shred_leaf
             from storage.pack_entry where pack_id = $1
             union all
             select ordinal, kind, digest, raw_length, body_offset, body_length, kek_version, wrapped_dek,
               shred_leaf
             from storage.pack_copy where pack_id = $1
           ) entry order by ordinal"#,
        pack_id
    )
    .fetch_all(&mut *begin(pool, TenantScope::All).await?)
    .await?;
    let unreadable = |column| StorageError::Row { table: "pack_entry", column };
    rows.into_iter()
        .map(|row| {
            let kind = u8::try_from(row.kind).ok().and_then(|code| BlobKind::from_code(code).ok());
            Ok(EntryRow {
                ordinal: row.ordinal,
                kind: kind.ok_or(unreadable("kind"))?,
                digest: Digest::try_from(row.digest.as_slice()).map_err(|_| unreadable("digest"))?,
                raw_length: row.raw_length as u64,
                offset: row.body_offset as u64,
                length: row.body_length as u64,
                kek_version: row.kek_version as u32,
                wrapped: row.wrapped_dek.and_then(|key| key.as_slice().try_into().ok()),
                shred_leaf: row.shred_leaf.map(|leaf| leaf as u64),
            })
        })
        .collect()
}
