use std::collections::BTreeSet;

use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_ledger::{
    leaf_proof::LeafProof,
    shred_certificate::{CERTIFICATE_OBSERVATIONS_MAX, ShredCertificate},
};
use openarchive_proto::ingest::v1::GetShredCertificateResponse;
use openarchive_schema::{TenantScope, begin};
use uuid::Uuid;

use super::shred_order::get;
use crate::{core::Core, failure::Failure, ledger_client::BATCH_MAX};

// One checkpoint for order and observations: they are asked for together.
const _: () = assert!(CERTIFICATE_OBSERVATIONS_MAX <= BATCH_MAX);

/// The proof that a mail's content was ordered to be destroyed and is gone: the latest time that was done.
pub(crate) async fn certificate(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
) -> Result<GetShredCertificateResponse, Failure> {
    let row = sqlx::query!(
        r#"select s.shred, s.finished_at as "finished_at!"
           from ingest.shred_message m join ingest.shred s using (tenant, shred)
           where m.tenant = $1 and m.message = $2 and s.state = 'shredded'
           order by s.generation desc limit 1"#,
        tenant.as_str(),
        message.as_bytes().as_slice(),
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let row = row.ok_or_else(|| Failure::not_found("this mail was not shredded"))?;
    let order = get(core, tenant, row.shred.into_bytes()).await?.leaf_index;
    let mut indices = observations(core, tenant, row.shred, message).await?;
    if indices.is_empty() {
        return Err(Failure::Damaged("a shredded mail has no observation".to_owned()));
    }
    indices.push(order);
    let mut proofs = proofs(core, tenant, &indices).await?;
    let order = proofs.pop().ok_or_else(|| Failure::Damaged("an order has no proof".to_owned()))?;
    let shredded_at = Timestamp::from_millis(row.finished_at);
    let certificate = ShredCertificate { message: *message, order, observations: proofs, shredded_at };
    Ok(GetShredCertificateResponse {
        certificate: certificate.to_text(),
        shred: row.shred.into_bytes().to_vec().into(),
        shredded_at: shredded_at.to_string(),
    })
}

/// The first leaves of the mail that the order names, by number.
async fn observations(
    core: &Core,
    tenant: &Tenant,
    shred: Uuid,
    message: &Digest,
) -> Result<Vec<u64>, Failure> {
    let rows = sqlx::query_scalar!(
        r#"select o.leaf_index as "leaf_index!"
           from ingest.observation o join ingest.shred_observation s using (tenant, leaf_index)
           where o.tenant = $1 and o.message = $2 and s.shred = $3
           order by o.leaf_index limit $4"#,
        tenant.as_str(),
        message.as_bytes().as_slice(),
        shred,
        // With the order itself as many as one question to trust may have.
        (CERTIFICATE_OBSERVATIONS_MAX - 1) as i64,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    Ok(rows.into_iter().map(|index| index as u64).collect())
}

/// In the order asked, all in one checkpoint.
async fn proofs(core: &Core, tenant: &Tenant, indices: &[u64]) -> Result<Vec<LeafProof>, Failure> {
    let inclusions = core.ledger.inclusions(tenant, indices).await?;
    let wanted: BTreeSet<u64> = indices.iter().copied().collect();
    let mut leaves = core.ledger.leaves_at(tenant, &wanted).await?;
    let proofs = indices.iter().zip(inclusions.proofs).map(|(&index, hashes)| {
        let leaf = leaves.remove(&index);
        let leaf = leaf.ok_or_else(|| Failure::Damaged(format!("the log has no leaf {index}")))?;
        Ok(LeafProof { leaf, index, hashes, checkpoint_note: inclusions.checkpoint_note.clone() })
    });
    proofs.collect()
}
