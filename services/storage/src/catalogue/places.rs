use openarchive_domain::{RetentionClass, Timestamp};
use openarchive_envelope::BlobScope;
use openarchive_schema::begin;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::{BlobId, kind_column, rows_of},
    pack_flush::key_file_is_locked,
};

/// Where a copy of a blob stands whose key is not gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack_id: Uuid,
    pub(crate) ordinal: i32,
    /// Until when its pack's key file is locked; its class may leave it unlocked.
    pub(crate) key_locked_until: Option<Timestamp>,
}

/// Every place of these blobs: the copy in use and all others. Those already ordered to be shredded are left out.
pub(crate) async fn locate(
    pool: &PgPool,
    scope: &BlobScope,
    blobs: &[(RetentionClass, BlobId)],
) -> Result<Vec<Place>, StorageError> {
    let kinds: Vec<i16> = blobs.iter().map(|(_, blob)| kind_column(blob.kind)).collect();
    let digests: Vec<Vec<u8>> = blobs.iter().map(|(_, blob)| blob.digest.as_bytes().to_vec()).collect();
    let classes: Vec<String> = blobs.iter().map(|(class, _)| class.to_string()).collect();
    let rows = sqlx::query!(
        r#"with asked as (
             select * from unnest($2::smallint[], $3::bytea[], $4::text[]) as a(kind, digest, class)
           ), places as (
             select e.pack_id, e.ordinal, e.class from storage.pack_entry e join asked using (kind, digest, class)
             where e.tenant = $1 and e.wrapped_dek is not null
             union
             select c.pack_id, c.ordinal, c.class from storage.pack_copy c join asked using (kind, digest, class)
             where c.tenant = $1 and c.shred_leaf is null
           )
           select places.pack_id as "pack_id!", places.ordinal as "ordinal!", places.class as "class!",
             coalesce(extended.lock_until, pack.lock_until) as lock_until
           from places join storage.pack using (pack_id) left join storage.pack_lock extended using (pack_id)
           order by 1, 2"#,
        scope.as_str(),
        &kinds,
        &digests,
        &classes,
    )
    .fetch_all(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    let unreadable = |_| StorageError::Row { table: "pack_entry", column: "class" };
    rows.into_iter()
        .map(|row| {
            let locked = key_file_is_locked(row.class.parse().map_err(unreadable)?);
            let key_locked_until = row.lock_until.filter(|_| locked).map(Timestamp::from_millis);
            Ok(Place { pack_id: row.pack_id, ordinal: row.ordinal, key_locked_until })
        })
        .collect()
}

/// The leaf that ordered a blob to be shredded, if every copy of it is.
pub(crate) async fn shred_leaf_of(
    pool: &PgPool,
    scope: &BlobScope,
    blob: BlobId,
    class: Option<RetentionClass>,
) -> Result<Option<u64>, StorageError> {
    let leaf = sqlx::query_scalar!(
        "select max(shred_leaf) from storage.pack_copy
         where tenant = $1 and kind = $2 and digest = $3 and ($4::text is null or class = $4)",
        scope.as_str(),
        kind_column(blob.kind),
        blob.digest.as_bytes().as_slice(),
        class.map(|class| class.to_string()),
    )
    .fetch_one(&mut *begin(pool, rows_of(scope)).await?)
    .await?;
    Ok(leaf.map(|leaf| leaf as u64))
}
