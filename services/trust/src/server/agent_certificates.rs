use openarchive_domain::{AgentRef, ParseError, Tenant};
use openarchive_proto::trust::v1 as proto;
use openarchive_rpc::refusal;
use tonic::{Code, Status};

use super::refusals::invalid;
use crate::{agents_ca::IssueError, policy_for, shared::Shared};

/// What an agent of the tenant checks receipts with.
pub(super) fn policy(
    shared: &Shared,
    request: &proto::GetLogPolicyRequest,
) -> Result<proto::GetLogPolicyResponse, Status> {
    Ok(proto::GetLogPolicyResponse { log_policy: log_policy(shared, &parse_tenant(&request.tenant)?)? })
}

/// One text for every answer that holds it.
fn log_policy(shared: &Shared, tenant: &Tenant) -> Result<String, Status> {
    let policy = policy_for(&shared.keys, &shared.domain, &shared.archive, tenant)
        .map_err(|error| invalid(error.to_string()))?;
    String::from_utf8(policy.to_text()).map_err(|_| Status::internal("a log policy is no text"))
}

fn parse_tenant(tenant: &str) -> Result<Tenant, Status> {
    tenant.parse().map_err(|error: ParseError| invalid(error.to_string()))
}

/// Signs the key of a request for the agent that the caller names. Whether that agent may have a certificate is the
/// caller's to know.
pub(super) async fn issue(
    shared: &Shared,
    request: proto::IssueAgentCertificateRequest,
) -> Result<proto::IssueAgentCertificateResponse, Status> {
    let tenant = parse_tenant(&request.tenant)?;
    let name = request.agent.parse().map_err(|error: ParseError| invalid(error.to_string()))?;
    let agent = AgentRef { tenant, name };
    let Some(ca) = shared.agents_ca.clone() else {
        return Err(refusal(
            Code::FailedPrecondition,
            "NO_AGENTS_CA",
            "this archive signs no agents' certificates: configure `trust.agentsCa`, or have them issued by \
             whoever has the authority",
        ));
    };
    let log_policy = log_policy(shared, &agent.tenant)?;
    let (domain, named, now) = (shared.domain.clone(), agent.clone(), shared.clock.now());
    let sign = move || ca.issue(&domain, &named, &request.csr, now);
    let issued = super::off_the_event_loop(sign).await?.map_err(|error| refused(&error))?;
    tracing::info!(%agent, serial = issued.serial, not_after = %issued.not_after, "an agent's certificate is issued");
    Ok(proto::IssueAgentCertificateResponse {
        certificate_chain: issued.chain,
        serial: issued.serial,
        not_after: issued.not_after.to_string(),
        log_policy,
    })
}

fn refused(error: &IssueError) -> Status {
    let message = error.to_string();
    match error {
        IssueError::Request(_) => refusal(Code::InvalidArgument, "CSR_REFUSED", message),
        IssueError::AuthorityEnded => refusal(Code::FailedPrecondition, "AGENTS_CA_ENDED", message),
        IssueError::Sign(cause) => {
            tracing::error!(%cause, "an agent's certificate cannot be signed");
            refusal(Code::Internal, "CERTIFICATE_NOT_SIGNED", message)
        }
    }
}
