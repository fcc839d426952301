use std::sync::Arc;

use openarchive_domain::{Digest, Timestamp, extendable_from};
use openarchive_envelope::WrappedKey;
use openarchive_ledger::{jcs, leaf::PackLeaf};
use openarchive_objects::Version;
use openarchive_schema::{Transaction, run_tx};
use sqlx::PgPool;

use crate::{
    StorageError,
    blob_id::{kind_column, rows_of},
    object_names::PackName,
    pack_object::Placed,
};

/// A pack whose object and key file are durable.
pub(crate) struct NewPack {
    pub(crate) name: PackName,
    pub(crate) version: Version,
    /// The date it was first locked until: what the class asks for, from when it was made.
    pub(crate) lock_until: Timestamp,
    /// A later date that its lock was extended to.
    pub(crate) extended_until: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) kek_version: u32,
    /// With their ordinals in the pack.
    pub(crate) blobs: Vec<(i32, Placed)>,
    /// One for each blob.
    pub(crate) wrapped: Vec<KeyState>,
}

/// What became of a blob's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    Wrapped(WrappedKey),
    /// Destroyed, as this leaf of the evidence log ordered.
    Shredded {
        leaf: u64,
    },
}

impl NewPack {
    /// What the ledger will say of this pack.
    pub(crate) fn leaf(&self) -> PackLeaf {
        PackLeaf {
            tenant: self.name.group.scope.as_str().parse().expect("a blob scope is a tenant's name or _"),
            class: self.name.group.class,
            pack: *self.name.id.as_bytes(),
            sha256: self.version.sha256,
            version_id: self.version.version_id.clone(),
        }
    }
}

/// What became of a pack's blobs.
pub(crate) struct Inserted {
    /// Of each blob, in the pack's order, whether this is the copy in use. Where two cores raced it is the other's.
    pub(crate) catalogued: Vec<bool>,
    /// Whether one of those rows has lost its key, so that the blob cannot be read.
    pub(crate) meets_keyless: bool,
}

/// Catalogues a pack with its blobs and its outbox row in one transaction. Durable when it returns.
pub(crate) async fn insert_pack(pool: &PgPool, pack: NewPack) -> Result<Inserted, StorageError> {
    let rows = Arc::new(Rows::of(pack));
    let transaction_rows = rows.clone();
    let (ordinals, meets_keyless) =
        run_tx(pool, "store pack", rows_of(&rows.pack.name.group.scope), move |tx| {
            let rows = transaction_rows.clone();
            Box::pin(async move {
                insert_pack_row(tx, &rows).await?;
                supersede_entries(tx, &rows).await?;
                let catalogued = insert_entries(tx, &rows).await?;
                insert_copies(tx, &rows, &catalogued).await?;
                insert_outbox_row(tx, &rows).await?;
                let meets_keyless = catalogued.len() < rows.ordinals.len() && any_keyless(tx, &rows).await?;
                Ok((catalogued, meets_keyless))
            })
        })
        .await?;
    let blobs = &rows.pack.blobs;
    let catalogued = blobs.iter().map(|(ordinal, _)| ordinals.binary_search(ordinal).is_ok()).collect();
    Ok(Inserted { catalogued, meets_keyless })
}

/// What is inserted. The blobs as arrays, for one statement; in digest order, so that two cores never wait for each
/// other crosswise.
struct Rows {
    pack: NewPack,
    class: String,
    leaf_key: Digest,
    leaf_body: String,
    ordinals: Vec<i32>,
    kinds: Vec<i16>,
    digests: Vec<Vec<u8>>,
    raw_lengths: Vec<i64>,
    offsets: Vec<i64>,
    lengths: Vec<i64>,
    wrapped: Vec<Option<Vec<u8>>>,
    shred_leaves: Vec<Option<i64>>,
}

impl Rows {
    fn of(pack: NewPack) -> Self {
        let leaf = pack.leaf();
        let leaf_body = jcs::canonicalize(&leaf.body());
        let mut rows: Vec<_> = pack.blobs.iter().zip(&pack.wrapped).collect();
        rows.sort_by_key(|((_, blob), _)| (blob.id.digest, blob.id.kind));
        Self {
            class: pack.name.group.class.to_string(),
            leaf_key: leaf.idempotency_key(),
            leaf_body: leaf_body.expect("a pack leaf is strings and a small number under ASCII keys"),
            ordinals: rows.iter().map(|((ordinal, _), _)| *ordinal).collect(),
            kinds: rows.iter().map(|((_, blob), _)| kind_column(blob.id.kind)).collect(),
            digests: rows.iter().map(|((_, blob), _)| blob.id.digest.as_bytes().to_vec()).collect(),
            raw_lengths: rows.iter().map(|((_, blob), _)| blob.raw_length as i64).collect(),
            offsets: rows.iter().map(|((_, blob), _)| blob.offset as i64).collect(),
            lengths: rows.iter().map(|((_, blob), _)| blob.length as i64).collect(),
            wrapped: rows
                .iter()
                .map(|(_, key)| match key {
                    KeyState::Wrapped(key) => Some(key.to_vec()),
                    KeyState::Shredded { .. } => None,
                })
                .collect(),
            shred_leaves: rows
                .iter()
                .map(|(_, key)| match key {
                    KeyState::Wrapped(_) => None,
                    KeyState::Shredded { leaf } => Some(*leaf as i64),
                })
                .collect(),
            pack,
        }
    }
}

async fn insert_pack_row(tx: &mut Transaction, rows: &Rows) -> Result<(), sqlx::Error> {
    let (object_key, key_file_key) = (rows.pack.name.key(), rows.pack.name.key_file());
    sqlx::query!(
        "insert into storage.pack (pack_id, tenant, class, object_key, version_id, sha256, length, key_file_key,
           lock_until, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        rows.pack.name.id,
        rows.pack.name.group.scope.as_str(),
        rows.class,
        object_key.as_str(),
        rows.pack.version.version_id,
        rows.pack.version.sha256.as_bytes().as_slice(),
        rows.pack.version.length as i64,
        key_file_key.as_str(),
        rows.pack.lock_until.as_millis(),
        rows.pack.created_at.as_millis(),
    )
    .execute(&mut **tx)
    .await?;
    if let Some(until) = rows.pack.extended_until {
        sqlx::query!(
            "insert into storage.pack_lock (pack_id, tenant, lock_until) values ($1, $2, $3)",
            rows.pack.name.id,
            rows.pack.name.group.scope.as_str(),
            until.as_millis(),
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Entries of the same blobs in packs whose locks cannot be extended to this pack's become copies: later references
/// use this pack.
async fn supersede_entries(tx: &mut Transaction, rows: &Rows) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select storage.supersede($1, $2, $3, $4, $5)::text as "done""#,
        rows.pack.name.group.scope.as_str(),
        rows.class,
        &rows.kinds,
        &rows.digests,
        extendable_from(rows.pack.lock_until).as_millis(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

/// The pack's blobs that another pack has in use: listed, so that their keys can be found when they must go.
async fn insert_copies(tx: &mut Transaction, rows: &Rows, catalogued: &[i32]) -> Result<(), sqlx::Error> {
    if catalogued.len() == rows.ordinals.len() {
        return Ok(());
    }
    sqlx::query!(
        "insert into storage.pack_copy (pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset,
           body_length, kek_version, wrapped_dek, shred_leaf)
         select $1, blob.ordinal, $2, $3, blob.kind, blob.digest, blob.raw_length, blob.body_offset,
           blob.body_length, $4, blob.wrapped_dek, blob.shred_leaf
         from unnest($5::integer[], $6::smallint[], $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[],
           $11::bytea[], $13::bigint[])
           as blob(ordinal, kind, digest, raw_length, body_offset, body_length, wrapped_dek, shred_leaf)
         where blob.ordinal <> all($12::integer[])",
        rows.pack.name.id,
        rows.pack.name.group.scope.as_str(),
        rows.class,
        rows.pack.kek_version as i32,
        &rows.ordinals,
        &rows.kinds,
        &rows.digests,
        &rows.raw_lengths,
        &rows.offsets,
        &rows.lengths,
        &rows.wrapped as &[Option<Vec<u8>>],
        catalogued,
        &rows.shred_leaves as &[Option<i64>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_outbox_row(tx: &mut Transaction, rows: &Rows) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into storage.outbox (pack_id, idempotency_key, body) values ($1, $2, $3)",
        rows.pack.name.id,
        rows.leaf_key.as_bytes().as_slice(),
        rows.leaf_body,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The ordinals that were inserted, ascending.
async fn insert_entries(tx: &mut Transaction, rows: &Rows) -> Result<Vec<i32>, sqlx::Error> {
    let mut inserted = sqlx::query_scalar!(
        r#"insert into storage.pack_entry (pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset,
             body_length, kek_version, wrapped_dek)
           select $1, blob.ordinal, $2, $3, blob.kind, blob.digest, blob.raw_length, blob.body_offset,
             blob.body_length, $4, blob.wrapped_dek
           from unnest($5::integer[], $6::smallint[], $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[],
             $11::bytea[]) with ordinality as blob(ordinal, kind, digest, raw_length, body_offset, body_length,
             wrapped_dek, place)
           where blob.wrapped_dek is not null
           order by blob.place
           on conflict (tenant, kind, digest, class) do nothing
           returning ordinal"#,
        rows.pack.name.id,
        rows.pack.name.group.scope.as_str(),
        rows.class,
        rows.pack.kek_version as i32,
        &rows.ordinals,
        &rows.kinds,
        &rows.digests,
        &rows.raw_lengths,
        &rows.offsets,
        &rows.lengths,
        &rows.wrapped as &[Option<Vec<u8>>],
    )
    .fetch_all(&mut **tx)
    .await?;
    inserted.sort_unstable();
    Ok(inserted)
}

/// Whether a blob of the pack has a row without a key, in whichever pack.
async fn any_keyless(tx: &mut Transaction, rows: &Rows) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
             select from storage.pack_entry entry
             join unnest($3::smallint[], $4::bytea[]) as blob(kind, digest)
               on entry.kind = blob.kind and entry.digest = blob.digest
             where entry.tenant = $1 and entry.class = $2 and entry.wrapped_dek is null
           ) as "any!""#,
        rows.pack.name.group.scope.as_str(),
        rows.class,
        &rows.kinds,
        &rows.digests,
    )
    .fetch_one(&mut **tx)
    .await
}
