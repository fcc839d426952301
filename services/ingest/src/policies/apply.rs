use openarchive_domain::{Digest, random};
use openarchive_ledger::origin::TenantOrArchive;
use openarchive_proto::ingest::v1::{ApplyPoliciesRequest, ApplyPoliciesResponse};
use openarchive_schema::{TenantScope, begin};
use tonic::Code;
use tracing::info;

use super::{
    POLICY_RECORD_BYTES_MAX, PolicyLeaf, PolicyRecord, PolicySet,
    decide::{Decided, decide},
    request::Asked,
};
use crate::{
    core::Core,
    failure::{Failure, FieldError},
    governance::{settle, sweep},
    observation_rows::undecodable,
};

/// How often a request is decided anew because another one came first.
const ATTEMPTS_MAX: u32 = 4;

/// Puts a set in force for all mail that is offered from now on, to whichever replica. Durable when it answers: the
/// record that it can be restored from, the row, the leaf. A set that stands already is only acknowledged.
pub(crate) async fn apply(
    core: &Core,
    request: ApplyPoliciesRequest,
) -> Result<ApplyPoliciesResponse, Failure> {
    let asked = Asked::parse(request)?;
    for _ in 0..ATTEMPTS_MAX {
        let standing = core.retention.standing(&core.pool).await?;
        let Decided { set, outcomes } = decide(&standing.set, &asked);
        let mut version = standing.version;
        if set != standing.set {
            version += 1;
            if !put_in_force(core, version, set).await? {
                continue;
            }
        }
        let leaf_index = leaf_index(core, version).await?;
        return Ok(ApplyPoliciesResponse { outcomes, version, leaf_index });
    }
    Err(Failure::refused(Code::Aborted, "CHANGED", "other policies came in meanwhile: try again"))
}

/// False: another set came first.
async fn put_in_force(core: &Core, version: u64, set: PolicySet) -> Result<bool, Failure> {
    let now = core.clock.now();
    let policies = set.policies.len();
    let record = PolicyRecord { version, set, applied_at: now, salt: random::bytes() };
    let body = record.encode();
    if body.len() > POLICY_RECORD_BYTES_MAX {
        let expected = format!("of at most {POLICY_RECORD_BYTES_MAX} bytes in all");
        return Err(FieldError::new("policies", expected).into());
    }
    // What cannot be read back would keep all mail out.
    if PolicyRecord::decode(&body).as_ref() != Some(&record) {
        return Err(Failure::Damaged("a set of policies does not read back".to_owned()));
    }
    let record = Digest::of(&body);
    let leaf = PolicyLeaf { version, record, occurred_at: now };
    core.blobs.put_state(&TenantOrArchive::Archive, record, body.clone()).await?;
    let key = leaf.idempotency_key();
    let mut tx = begin(&core.pool, TenantScope::Archive).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.apply_policies('_', $1, $2, $3, $4, $5)",
        version as i64,
        body,
        now.as_millis(),
        key.as_bytes().as_slice(),
        leaf.body(),
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() != Some("applied") {
        return Ok(false);
    }
    tx.commit().await?;
    info!(version, policies, "retention policies are in force");
    Ok(true)
}

/// Of a set's leaf, which is durable when this answers; none before the first set.
async fn leaf_index(core: &Core, version: u64) -> Result<Option<u64>, Failure> {
    let key = sqlx::query_scalar!(
        "select a.idempotency_key from ingest.policy_set s join ingest.act a using (act_id)
         where s.tenant = '_' and s.version = $1",
        version as i64,
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::Archive).await?)
    .await?;
    let Some(key) = key else { return Ok(None) };
    let key: Digest = key.as_slice().try_into().map_err(undecodable)?;
    // Earlier sets get their leaves first: the row of this one is there only since theirs were committed.
    sweep(&core.pool, &core.ledger, &TenantOrArchive::Archive).await?;
    settle(&core.pool, &core.ledger, &TenantOrArchive::Archive, &key).await.map(Some)
}
