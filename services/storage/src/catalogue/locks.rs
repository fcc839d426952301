use openarchive_domain::{RetentionClass, Timestamp, extendable_from};
use openarchive_envelope::BlobScope;
use openarchive_objects::ObjectKey;
use openarchive_schema::begin;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::{BlobId, kind_column, rows_of},
};

/// A date that a blob must be locked until.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepUntil {
    pub(crate) until: Timestamp,
    /// Packs that were first locked until earlier than this cannot be locked for so long.
    pub(crate) first_lock_min: Timestamp,
}

impl KeepUntil {
    pub(crate) fn new(until: Timestamp) -> Self {
        Self { until, first_lock_min: extendable_from(until) }
    }
}

/// A pack whose lock ends too early and may be extended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedPack {
    pub(crate) pack_id: Uuid,
    pub(crate) object_key: ObjectKey,
    pub(crate) key_file_key: ObjectKey,
}

/// The packs that hold these blobs, each once, and are locked for less long than `keep`, but may be.
pub(crate) async fn packs_to_lock(
    pool: &PgPool,
    scope: &BlobScope,
    class: RetentionClass,
    blobs: &[BlobId],
    keep: KeepUntil,
) -> Result<Vec<LockedPack>, StorageError> {
    let kinds: Vec<i16> = blobs.iter().map(|blob| kind_column(blob.kind)).collect();
    let digests: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.digest.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        "select distinct pack.pack_id, pack.object_key, pack.key_file_key
         from unnest($3::smallint[], $4::bytea[]) as asked(kind, digest)
         join storage.pack_entry entry
           on entry.tenant = $1 and entry.class = $2 and entry.kind = asked.kind and entry.digest = asked.digest
         join storage.pack using (pack_id)
         left join storage.pack_lock extended using (pack_id)
         where wrapped_dek is not null and pack.lock_until >= $6
           and coalesce(extended.lock_until, pack.lock_until) < $5
         order by pack.pack_id",
        scope.as_str(),
        class.to_string(),
        &kinds,
        &digests,
        keep.until.as_millis(),
        keep.first_lock_min.as_millis(),
    )
    .fetch_all(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    let unreadable = |column| StorageError::Row { table: "pack", column };
    rows.into_iter()
        .map(|row| {
            Ok(LockedPack {
                pack_id: row.pack_id,
                object_key: row.object_key.parse().map_err(|_| unreadable("object_key"))?,
                key_file_key: row.key_file_key.parse().map_err(|_| unreadable("key_file_key"))?,
            })
        })
        .collect()
}

/// For each blob, in the order asked, whether it is there in its class and its pack is locked until then.
pub(crate) async fn locked_blobs(
    pool: &PgPool,
    scope: &BlobScope,
    class: RetentionClass,
    blobs: &[BlobId],
    until: Timestamp,
) -> Result<Vec<bool>, StorageError> {
    let kinds: Vec<i16> = blobs.iter().map(|blob| kind_column(blob.kind)).collect();
    let digests: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.digest.as_bytes().to_vec()).collect();
    let locked = sqlx::query_scalar!(
        r#"select exists (
             select from storage.pack_entry entry
             join storage.pack using (pack_id)
             left join storage.pack_lock extended using (pack_id)
             where entry.tenant = $1 and entry.class = $2 and entry.kind = asked.kind
               and entry.digest = asked.digest and entry.wrapped_dek is not null
               and (pack.lock_until is null or coalesce(extended.lock_until, pack.lock_until) >= $5)) as "locked!"
           from unnest($3::smallint[], $4::bytea[]) with ordinality as asked(kind, digest, place)
           order by asked.place"#,
        scope.as_str(),
        class.to_string(),
        &kinds,
        &digests,
        until.as_millis(),
    )
    .fetch_all(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    Ok(locked)
}

/// Notes that these packs are locked until then, which they must be already. Never shortens.
pub(crate) async fn note_locks(
    pool: &PgPool,
    scope: &BlobScope,
    packs: &[Uuid],
    until: Timestamp,
) -> Result<(), StorageError> {
    let mut tx = begin(pool, rows_of(scope)).await?;
    // Sorted by who asks, so that two calls never wait for each other crosswise.
    sqlx::query!(
        "insert into storage.pack_lock (pack_id, tenant, lock_until)
         select pack_id, $2, $3 from unnest($1::uuid[]) as pack_id
         on conflict (pack_id) do update set lock_until = greatest(pack_lock.lock_until, excluded.lock_until)",
        packs,
        scope.as_str(),
        until.as_millis(),
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}
