//! Which blobs go with a mail, and which stay because other mail needs them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, RetentionClass, Tenant, Timestamp};
use openarchive_schema::{TenantScope, begin};

use crate::{
    blob_store::BlobName,
    core::Core,
    failure::Failure,
    message_reader::MessageSource,
    observation_record::{ObservationRecord, RECORD_BYTES_MAX},
    observation_rows::undecodable,
};

/// Observation blobs read at a time.
const RECORDS_READ_AT_ONCE: usize = 16;

/// A blob in its class, ordered by the class's name.
pub(super) type ClassedBlob = (String, BlobName);

/// An observation whose content is still there.
pub(super) struct Observed {
    pub(super) message: Digest,
    pub(super) class: RetentionClass,
    pub(super) recorded_at: Timestamp,
    /// None: not durable yet.
    pub(super) leaf_index: Option<u64>,
    record: Digest,
}

/// Every observation of these mails that was not shredded before.
pub(super) async fn observations(
    core: &Core,
    tenant: &Tenant,
    messages: &[Digest],
) -> Result<Vec<Observed>, Failure> {
    let messages: Vec<Vec<u8>> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        "select o.message, o.class, o.recorded_at, o.leaf_index, o.record
         from ingest.observation o
         where o.tenant = $1 and o.message = any($2) and not exists (
           select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
         order by o.message, o.leaf_index",
        tenant.as_str(),
        &messages,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let observed = rows.into_iter().map(|row| {
        Ok(Observed {
            message: row.message.as_slice().try_into().map_err(undecodable)?,
            class: row.class.parse().map_err(undecodable)?,
            recorded_at: Timestamp::from_millis(row.recorded_at),
            leaf_index: row.leaf_index.map(|index| index as u64),
            record: row.record.as_slice().try_into().map_err(undecodable)?,
        })
    });
    Ok(observed.collect::<Result<_, sqlx::Error>>()?)
}

/// What goes with these observations: their records, their skeletons, and the parts that no other mail needs.
pub(super) async fn blobs_of(
    core: &Core,
    tenant: &Tenant,
    messages: &[Digest],
    observed: &[Observed],
) -> Result<BTreeSet<ClassedBlob>, Failure> {
    let reads: Vec<_> = observed
        .iter()
        .map(|observed| async move {
            let source =
                MessageSource { blobs: core.blobs.clone(), tenant: tenant.clone(), class: observed.class };
            let bytes = source.observation(observed.record, RECORD_BYTES_MAX).await?;
            let record = ObservationRecord::decode(&bytes);
            let record = record.map_err(|error| Failure::Damaged(error.to_string()))?;
            Ok::<_, Failure>((observed, record))
        })
        .collect();
    let records: Vec<_> = stream::iter(reads).buffered(RECORDS_READ_AT_ONCE).try_collect().await?;
    let mut blobs = BTreeSet::new();
    for (observed, record) in records {
        let class = observed.class.to_string();
        blobs.insert((class.clone(), BlobName::Observation(observed.record)));
        blobs.insert((class.clone(), BlobName::Skeleton(record.offer.skeleton)));
        blobs.extend(record.offer.parts.keys().map(|part| (class.clone(), BlobName::Part(*part))));
    }
    let shared = shared_parts(core, tenant, messages, &blobs).await?;
    blobs.retain(|blob| !shared.contains(blob));
    Ok(blobs)
}

/// Parts that mail outside the list needs in the same class, for an observation that was not shredded. A skeleton and a
/// record belong to one mail alone.
pub(super) async fn shared_parts(
    core: &Core,
    tenant: &Tenant,
    messages: &[Digest],
    blobs: &BTreeSet<ClassedBlob>,
) -> Result<BTreeSet<ClassedBlob>, Failure> {
    let parts: BTreeMap<ClassedBlob, Digest> = blobs
        .iter()
        .filter_map(|blob| match blob.1 {
            BlobName::Part(digest) => Some((blob.clone(), digest)),
            _ => None,
        })
        .collect();
    let (classes, digests): (Vec<String>, Vec<Vec<u8>>) =
        parts.iter().map(|((class, _), digest)| (class.clone(), digest.as_bytes().to_vec())).unzip();
    let messages: Vec<Vec<u8>> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"select b.class as "class!", b.digest as "digest!" from unnest($2::text[], $3::bytea[]) as b(class, digest)
           where exists (
             select from ingest.message_part p
             join ingest.message m on m.tenant = p.tenant and m.message = p.message and m.shred is null
             join ingest.observation o on o.tenant = m.tenant and o.message = m.message and o.class = b.class
               and not exists (select from ingest.shred_observation s
                 where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
             where p.tenant = $1 and p.part = b.digest and p.message <> all($4::bytea[]))"#,
        tenant.as_str(),
        &classes,
        &digests,
        &messages,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let shared = rows.into_iter().map(|row| {
        let digest = row.digest.as_slice().try_into().map_err(undecodable)?;
        Ok((row.class, BlobName::Part(digest)))
    });
    Ok(shared.collect::<Result<_, sqlx::Error>>()?)
}
