use openarchive_domain::Timestamp;
use openarchive_proto::ingest::v1::{ReportStatusRequest, ReportStatusResponse};
use openarchive_rpc::AgentIdentity;
use openarchive_schema::{TenantScope, begin};
use uuid::Uuid;

use crate::{
    core::Core,
    failure::{Failure, FieldError},
    offer::parse_instance,
};

/// Longest version text of an agent, in bytes.
pub(crate) const VERSION_BYTES_MAX: usize = 64;

/// Notes how far the agent has counted and answers how far the core has seen it count: committed, or announced
/// before. An agent whose disk was rolled back finds itself behind that and must open a new epoch, for numbers that
/// it gave out and lost must not be given out again. Keeps with which certificate it was said. Origin and key are empty until the log has its first checkpoint.
pub(super) async fn report(
    core: &Core,
    caller: &AgentIdentity,
    request: ReportStatusRequest,
) -> Result<ReportStatusResponse, Failure> {
    let agent = &caller.agent;
    let instance = parse_instance(&request.instance, "request")?;
    let announced = i64::try_from(request.highest_seq)
        .map_err(|_| FieldError::new("request.highest_seq", "at most 2^63 - 1"))?;
    let is_plain = request.version.bytes().all(|byte| byte.is_ascii_graphic());
    if request.version.len() > VERSION_BYTES_MAX || !is_plain {
        let expected = format!("at most {VERSION_BYTES_MAX} visible ASCII characters");
        return Err(FieldError::new("request.version", expected).into());
    }
    let buffered = i64::try_from(request.buffered_messages).unwrap_or(i64::MAX);
    let checkpoint = core.ledger.checkpoint(&agent.tenant).await?;
    let not_after = Timestamp::from_millis(caller.not_after.saturating_mul(1000));
    // None of an agent in this very process.
    let certificate = caller.certificate.as_ref().map(|sha256| (not_after, sha256));
    let mut tx = begin(&core.pool, TenantScope::One(&agent.tenant)).await?;
    let row = sqlx::query!(
        r#"with known as (
             insert into ingest.agent
               (tenant, agent, instance, agent_epoch, announced_seq, buffered_messages, version, last_seen,
                draining, certificate_not_after, certificate_sha256)
             values ($1, $2, $3, $4::text::numeric, $5, $6, $7, $8, $9, $10, $11)
             on conflict (tenant, agent, instance, agent_epoch) do update set
               announced_seq = greatest(ingest.agent.announced_seq, excluded.announced_seq),
               buffered_messages = excluded.buffered_messages,
               version = excluded.version,
               last_seen = excluded.last_seen,
               draining = excluded.draining,
               certificate_not_after = excluded.certificate_not_after,
               certificate_sha256 = excluded.certificate_sha256
             returning announced_seq
           )
           select greatest(announced_seq, (
             select max(seq) from ingest.observation
             where tenant = $1 and agent = $2 and instance = $3 and agent_epoch = $4::text::numeric
           )) as "highest!" from known"#,
        agent.tenant.as_str(),
        agent.name.as_str(),
        Uuid::from_bytes(instance),
        request.agent_epoch.to_string(),
        announced,
        buffered,
        request.version,
        core.clock.now().as_millis(),
        request.draining,
        certificate.map(|(not_after, _)| not_after.as_millis()),
        certificate.map(|(_, sha256)| sha256.as_bytes().as_slice()),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ReportStatusResponse {
        highest_seq: row.highest as u64,
        origin: checkpoint.origin,
        verifier_key: checkpoint.verifier_key,
    })
}
