//! How agents come in, stay in, and are shut out.
//!
//! A person has a one-time token made ([`create`]); the agent shows it with a certificate request and gets its
//! certificate ([`enrol`]), with which it gets the next one in time ([`renew`]). A revoked agent ([`revoke`]) stays
//! revoked: [`refuse_revoked`] is asked before each call of an agent, for a certificate cannot be taken back.

mod revocation;
mod token;

use openarchive_domain::{AgentRef, Digest, Tenant, Timestamp};
use openarchive_proto::{
    ingest::v1::{
        CreateEnrolmentRequest, CreateEnrolmentResponse, EnrolRequest, EnrolResponse,
        RenewCertificateResponse,
    },
    trust::v1::{
        GetLogPolicyRequest, IssueAgentCertificateRequest, IssueAgentCertificateResponse,
        trust_service_client::TrustServiceClient,
    },
};
use openarchive_rpc::RpcChannel;
use openarchive_schema::{TenantScope, begin};
use tonic::{Code, Request};
use tracing::info;

pub(crate) use self::revocation::{REVOCATION_BYTES_MAX, Revocation, refuse_revoked, revoke};
pub use self::{revocation::REVOCATION_REASON_BYTES_MAX, token::ENROLMENT_TOKEN_PREFIX};
use self::{
    revocation::{AGENT_REVOKED, is_revoked},
    token::Token,
};
use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// How long a token may be used where nothing else is asked for, in hours.
pub const ENROLMENT_HOURS_DEFAULT: u32 = 24;
/// Longest that a token may be used, in hours.
pub const ENROLMENT_HOURS_MAX: u32 = 7 * 24;

const HOUR_MILLIS: i64 = 3_600_000;
/// How long trust may take to sign a certificate, while the token is locked, or to say a log policy.
const TRUST_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// What makes agents' certificates and knows what they check receipts with: trust.
pub(crate) type Issuer = TrustServiceClient<RpcChannel>;

/// Makes a token that lets one agent in once. Durable when it answers; its text cannot be had again.
pub(crate) async fn create(
    core: &Core,
    request: CreateEnrolmentRequest,
) -> Result<CreateEnrolmentResponse, Failure> {
    let agent = agent_of(core, &request.tenant, &request.agent)?;
    let hours = if request.hours == 0 { ENROLMENT_HOURS_DEFAULT } else { request.hours };
    if hours > ENROLMENT_HOURS_MAX {
        return Err(FieldError::new("hours", format!("at most {ENROLMENT_HOURS_MAX}")).into());
    }
    if is_revoked(core, &agent).await? {
        let message = "this agent was revoked: enrol the machine under another name";
        return Err(Failure::refused(Code::FailedPrecondition, AGENT_REVOKED, message));
    }
    // Asked before a token is made: one without its policy would be of no use to whoever asked.
    let log_policy = log_policy(core, &agent.tenant).await?;
    let token = Token::fresh();
    let now = core.clock.now();
    let expires_at = Timestamp::from_millis(now.as_millis() + i64::from(hours) * HOUR_MILLIS);
    let sha256 = token.sha256();
    let mut tx = begin(&core.pool, TenantScope::One(&agent.tenant)).await?;
    sqlx::query!(
        "insert into ingest.enrolment (token_sha256, tenant, agent, created_at, expires_at)
         values ($1, $2, $3, $4, $5)",
        sha256.as_bytes().as_slice(),
        agent.tenant.as_str(),
        agent.name.as_str(),
        now.as_millis(),
        expires_at.as_millis()
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    info!(%agent, %expires_at, "an agent may enrol");
    Ok(CreateEnrolmentResponse { token: token.into_text(), expires_at: expires_at.to_string(), log_policy })
}

async fn log_policy(core: &Core, tenant: &Tenant) -> Result<String, Failure> {
    let mut request = Request::new(GetLogPolicyRequest { tenant: tenant.to_string() });
    request.set_timeout(TRUST_DEADLINE);
    let answer = core.issuer.clone().get_log_policy(request).await.map_err(Failure::upstream("trust"))?;
    Ok(answer.into_inner().log_policy)
}

/// A certificate for whom the token was made. The token is used up in the same transaction in which the certificate is
/// issued; the same request may be repeated with it while it is valid, so that a lost answer costs nothing.
pub(crate) async fn enrol(core: &Core, request: EnrolRequest) -> Result<EnrolResponse, Failure> {
    // One answer for a token that is unknown, used, over or another's: it says nothing about tokens.
    let refused = || {
        let message = "the token lets nobody in: it is unknown, used or over; have another one made";
        Failure::refused(Code::PermissionDenied, "TOKEN_REFUSED", message)
    };
    let token: Token = request.token.parse().map_err(|_| refused())?;
    let (token, csr) = (token.sha256(), Digest::of(&request.csr));
    let _turn = core.enrolments.acquire().await.map_err(|_| Failure::Task)?;
    let mut tx = begin(&core.pool, TenantScope::Archive).await?;
    let owner = sqlx::query!(
        r#"select tenant as "tenant!", agent as "agent!" from ingest.use_enrolment($1, $2, $3)"#,
        token.as_bytes().as_slice(),
        csr.as_bytes().as_slice(),
        core.clock.now().as_millis()
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(refused)?;
    let agent = agent_of(core, &owner.tenant, &owner.agent).map_err(|_| refused())?;
    let issued = issue(core, &agent, request.csr).await?;
    tx.commit().await?;
    info!(%agent, serial = issued.serial, "an agent has enrolled");
    Ok(EnrolResponse { certificate_chain: issued.certificate_chain, log_policy: issued.log_policy })
}

/// The next certificate of an agent that still has a valid one.
pub(crate) async fn renew(
    core: &Core,
    agent: &AgentRef,
    csr: bytes::Bytes,
) -> Result<RenewCertificateResponse, Failure> {
    let issued = issue(core, agent, csr).await?;
    Ok(RenewCertificateResponse { certificate_chain: issued.certificate_chain })
}

fn agent_of(core: &Core, tenant: &str, name: &str) -> Result<AgentRef, Failure> {
    let tenant = tenant.parse().ok().filter(|tenant| core.tenants.contains(tenant));
    let tenant = tenant.ok_or_else(|| FieldError::new("tenant", "the name of a tenant of this archive"))?;
    let name =
        name.parse().map_err(|_| FieldError::new("agent", "a DNS label: 1 to 63 of a-z, 0-9 and -"))?;
    Ok(AgentRef { tenant, name })
}

async fn issue(
    core: &Core,
    agent: &AgentRef,
    csr: bytes::Bytes,
) -> Result<IssueAgentCertificateResponse, Failure> {
    let (tenant, name) = (agent.tenant.to_string(), agent.name.to_string());
    let mut request = Request::new(IssueAgentCertificateRequest { tenant, agent: name, csr });
    request.set_timeout(TRUST_DEADLINE);
    match core.issuer.clone().issue_agent_certificate(request).await {
        Ok(issued) => Ok(issued.into_inner()),
        // What is wrong with the request the agent can mend; that this archive signs none it must be told.
        Err(status) => Err(match status.code() {
            code @ (Code::InvalidArgument | Code::FailedPrecondition) => {
                Failure::refused(code, "CERTIFICATE_REFUSED", status.message())
            }
            _ => Failure::upstream("trust")(status),
        }),
    }
}
