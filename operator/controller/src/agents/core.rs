//! What the archive knows of an agent, and what it is asked to do about it.

use std::{cmp::Reverse, time::Duration};

use openarchive_domain::{AgentRef, Digest, Timestamp};
use openarchive_operator_api::{CertificateStatus, InstanceStatus};
use openarchive_proto::ingest::v1::{
    AgentSummary, CreateEnrolmentRequest, ListAgentsRequest, RevokeAgentRequest,
    catalogue_service_client::CatalogueServiceClient,
};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::{Halt, Reason, core::Core};

/// One call.
const DEADLINE: Duration = Duration::from_secs(15);
/// Before a call that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The archive's longest, so that a bundle outlives a weekend.
const TOKEN_HOURS: u32 = 168;
/// Buffers of one agent in its status: whoever loses one volume after the other sees the newest.
pub(super) const INSTANCES_SHOWN_MAX: usize = 16;

/// An agent that has shown itself to the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) reported_at: Option<Timestamp>,
    /// As of then.
    pub(super) buffered_messages: u64,
    /// As of then, it took no mail any more and held none.
    pub(super) is_drained: bool,
    pub(super) certificate: Option<CertificateStatus>,
    pub(super) instances: Vec<InstanceStatus>,
}

/// A token that lets one agent in, once, and what the agent checks receipts with.
pub(super) struct Enrolment {
    pub(super) token: String,
    pub(super) expires_at: String,
    pub(super) log_policy: String,
}

/// `None`: it has never called.
pub(super) async fn seen(core: &Core, agent: &AgentRef) -> Result<Option<Seen>, Halt> {
    let request =
        timed(ListAgentsRequest { tenant: agent.tenant.to_string(), agent: agent.name.to_string() });
    let answer = CatalogueServiceClient::new(core.ingest.clone()).list_agents(request).await;
    let agents = answer.map_err(|status| unreachable("tell its agents", &status))?.into_inner().agents;
    // One name may have had several instances: the one that spoke last counts.
    let mut of_name: Vec<_> = agents.into_iter().filter(|found| found.agent == agent.name.as_str()).collect();
    of_name.sort_by_key(|found| Reverse(found.last_seen.parse::<Timestamp>().ok()));
    Ok(of_name.first().map(|found| Seen {
        reported_at: found.last_seen.parse().ok(),
        buffered_messages: found.buffered_messages,
        is_drained: found.draining && found.buffered_messages == 0,
        certificate: certificate(&found.certificate_not_after, &found.certificate_sha256, agent),
        instances: instances(&of_name),
    }))
}

/// Of the newest first, in an order that does not change with who reports.
pub(super) fn instances(newest_first: &[AgentSummary]) -> Vec<InstanceStatus> {
    let mut shown: Vec<_> = newest_first.iter().take(INSTANCES_SHOWN_MAX).collect();
    shown.sort_by_key(|found| (found.instance.clone(), found.agent_epoch));
    let status = |found: &AgentSummary| InstanceStatus {
        instance: Uuid::from_slice(&found.instance).unwrap_or_default().to_string(),
        epoch: found.agent_epoch.to_string(),
        version: found.version.clone(),
        last_receipt_index: found.last_leaf_index.and_then(|index| index.try_into().ok()),
        gaps: found.missing.try_into().unwrap_or(i64::MAX),
    };
    shown.into_iter().map(status).collect()
}

fn certificate(not_after: &str, sha256: &[u8], agent: &AgentRef) -> Option<CertificateStatus> {
    let fingerprint = Digest::try_from(sha256).ok()?.hex();
    let not_after = not_after.parse::<Timestamp>().ok()?.to_string();
    Some(CertificateStatus { name: agent.to_string(), not_after, fingerprint })
}

/// The token is told once: whoever loses it asks for another.
pub(super) async fn enrolment(core: &Core, agent: &AgentRef) -> Result<Enrolment, Halt> {
    let request = CreateEnrolmentRequest {
        tenant: agent.tenant.to_string(),
        agent: agent.name.to_string(),
        hours: TOKEN_HOURS,
    };
    let answer = CatalogueServiceClient::new(core.ingest.clone()).create_enrolment(timed(request)).await;
    let answer = answer.map_err(|status| match status.code() {
        // The archive's own words: the agent was revoked, the tenant is unknown.
        Code::FailedPrecondition | Code::InvalidArgument => {
            Halt::terminal(Reason::RefusedByCore, status.message().to_owned())
        }
        _ => unreachable("let the agent enrol", &status),
    })?;
    let answer = answer.into_inner();
    Ok(Enrolment { token: answer.token, expires_at: answer.expires_at, log_policy: answer.log_policy })
}

/// From its next call on the archive refuses the agent, for good. Idempotent.
pub(super) async fn revoke(core: &Core, agent: &AgentRef) -> Result<(), Halt> {
    let request = RevokeAgentRequest {
        tenant: agent.tenant.to_string(),
        agent: agent.name.to_string(),
        reason: "its EdgeAgent was deleted".to_owned(),
    };
    let answer = CatalogueServiceClient::new(core.ingest.clone()).revoke_agent(timed(request)).await;
    answer.map(drop).map_err(|status| unreachable("revoke the agent", &status))
}

fn unreachable(what: &str, status: &Status) -> Halt {
    let message = format!("the archive does not {what}: {:?}: {}", status.code(), status.message());
    Halt::waiting(Reason::CoreUnreachable, message, RETRY_AFTER)
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
