use std::collections::BTreeSet;

use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_ledger::shred_proof::ShredProof;
use openarchive_proto::ingest::v1::GetShredCertificateResponse;
use openarchive_schema::{TenantScope, begin};
use uuid::Uuid;

use super::shred_order::get;
use crate::{core::Core, failure::Failure};

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
    let shred: Uuid = row.shred;
    let index = get(core, tenant, shred.into_bytes()).await?.leaf_index;
    let leaf = core.ledger.leaves_at(tenant, &BTreeSet::from([index])).await?.remove(&index);
    let leaf = leaf.ok_or_else(|| Failure::Damaged("a shred has no leaf in the log".to_owned()))?;
    let mut inclusions = core.ledger.inclusions(tenant, &[index]).await?;
    let proof = ShredProof {
        leaf,
        index,
        hashes: inclusions.proofs.pop().unwrap_or_default(),
        checkpoint_note: inclusions.checkpoint_note,
    };
    Ok(GetShredCertificateResponse {
        proof: proof.to_text(),
        shred: shred.into_bytes().to_vec().into(),
        shredded_at: Timestamp::from_millis(row.finished_at).to_string(),
    })
}
