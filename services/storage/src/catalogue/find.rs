use openarchive_domain::RetentionClass;
use openarchive_envelope::{BlobScope, WrappedKey};
use openarchive_schema::begin;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::{BlobId, kind_column, rows_of},
    catalogue::KeepUntil,
};

/// Where a live blob stands.
pub(crate) struct Found {
    pub(crate) pack_id: Uuid,
    pub(crate) object_key: String,
    pub(crate) ordinal: i32,
    pub(crate) raw_length: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) kek_version: u32,
    /// `None`: the key is gone.
    pub(crate) wrapped: Option<WrappedKey>,
}

/// `class`: of any class where `None`.
pub(crate) async fn find_blob(
    pool: &PgPool,
    scope: &BlobScope,
    blob: BlobId,
    class: Option<RetentionClass>,
) -> Result<Option<Found>, StorageError> {
    let row = sqlx::query!(
        "select entry.pack_id, pack.object_key, ordinal, raw_length, body_offset, body_length, kek_version, wrapped_dek
         from storage.pack_entry entry join storage.pack using (pack_id)
         where entry.tenant = $1 and kind = $2 and digest = $3 and ($4::text is null or entry.class = $4)
         order by wrapped_dek is null, entry.pack_id desc limit 1",
        scope.as_str(),
        kind_column(blob.kind),
        blob.digest.as_bytes().as_slice(),
        class.map(|class| class.to_string()),
    )
    .fetch_optional(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    Ok(row.map(|row| Found {
        pack_id: row.pack_id,
        object_key: row.object_key,
        ordinal: row.ordinal,
        raw_length: row.raw_length as u64,
        offset: row.body_offset as u64,
        length: row.body_length as u64,
        kek_version: row.kek_version as u32,
        wrapped: row.wrapped_dek.and_then(|key| key.as_slice().try_into().ok()),
    }))
}

/// The raw length of each blob that is there, in the order asked. `class`: of any class where `None`. `keep`: only of
/// blobs that are locked until then, or may be.
pub(crate) async fn stat_blobs(
    pool: &PgPool,
    scope: &BlobScope,
    class: Option<RetentionClass>,
    blobs: &[BlobId],
    keep: Option<KeepUntil>,
) -> Result<Vec<Option<u64>>, StorageError> {
    let kinds: Vec<i16> = blobs.iter().map(|blob| kind_column(blob.kind)).collect();
    let digests: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.digest.as_bytes().to_vec()).collect();
    let lengths = sqlx::query_scalar!(
        r#"select entry.raw_length as "raw_length?"
           from unnest($3::smallint[], $4::bytea[]) with ordinality as asked(kind, digest, place)
           left join lateral (
             select raw_length from storage.pack_entry
             where tenant = $1 and kind = asked.kind and digest = asked.digest and ($2::text is null or class = $2)
               and wrapped_dek is not null
               and ($5::bigint is null or exists (
                 select from storage.pack where pack.pack_id = pack_entry.pack_id
                   and (pack.lock_until is null or pack.lock_until >= $5)))
             limit 1
           ) entry on true
           order by asked.place"#,
        scope.as_str(),
        class.map(|class| class.to_string()),
        &kinds,
        &digests,
        keep.map(|keep| keep.first_lock_min.as_millis()),
    )
    .fetch_all(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    Ok(lengths.into_iter().map(|length| length.map(|length| length as u64)).collect())
}
