//! Shutting agents out, beyond the life of the database: an encrypted state blob says what the row says.

use openarchive_domain::{AgentRef, Digest, Timestamp};
use openarchive_proto::ingest::v1::{RevokeAgentRequest, RevokeAgentResponse};
use openarchive_rpc::refusal;
use openarchive_schema::{TenantScope, Transaction, begin, run_tx};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use tracing::info;

use super::agent_of;
use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// Longest reason of a revocation, in bytes.
pub const REVOCATION_REASON_BYTES_MAX: usize = 200;
/// Longest state blob of a revocation, in bytes: each byte of the reason escaped, and the names.
pub(crate) const REVOCATION_BYTES_MAX: usize = 2_000;

/// Reason of the refusal that a revoked agent gets, whatever it calls.
pub(super) const AGENT_REVOKED: &str = "AGENT_REVOKED";

/// What the state blob is.
const KIND: &str = "agent-revoked";

/// A revocation as it stands in its state blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    kind: String,
    pub(crate) tenant: String,
    agent: String,
    /// Milliseconds since 1970.
    revoked_at: i64,
    reason: String,
    v: u8,
}

impl Revocation {
    /// Nothing, if the bytes are another state's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|found: &Self| found.kind == KIND && found.v == 1)
    }

    /// The first revocation of an agent stands.
    pub(crate) async fn insert(&self, tx: &mut Transaction) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into ingest.revoked_agent (tenant, agent, revoked_at, reason) values ($1, $2, $3, $4)
             on conflict do nothing",
            self.tenant,
            self.agent,
            self.revoked_at,
            self.reason
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Shuts an agent out for good, from its next call on. Durable when it answers, also where the database is lost later.
/// Revoking again changes nothing.
pub(crate) async fn revoke(core: &Core, request: RevokeAgentRequest) -> Result<RevokeAgentResponse, Failure> {
    let agent = agent_of(core, &request.tenant, &request.agent)?;
    let reason = request.reason.trim().to_owned();
    if reason.is_empty() || reason.len() > REVOCATION_REASON_BYTES_MAX || reason.chars().any(char::is_control)
    {
        let expected = format!("given, as a text of at most {REVOCATION_REASON_BYTES_MAX} bytes");
        return Err(FieldError::new("reason", expected).into());
    }
    let asked = Revocation {
        kind: KIND.to_owned(),
        tenant: agent.tenant.to_string(),
        agent: agent.name.to_string(),
        revoked_at: core.clock.now().as_millis(),
        reason,
        v: 1,
    };
    let standing = run_tx(&core.pool, "revoke_agent", TenantScope::One(&agent.tenant), move |tx| {
        let asked = asked.clone();
        Box::pin(async move {
            asked.insert(tx).await?;
            let row = sqlx::query!(
                "select revoked_at, reason from ingest.revoked_agent where tenant = $1 and agent = $2",
                asked.tenant,
                asked.agent
            )
            .fetch_one(&mut **tx)
            .await?;
            Ok(Revocation { revoked_at: row.revoked_at, reason: row.reason, ..asked })
        })
    })
    .await?;
    info!(%agent, "an agent is revoked");
    // After the row: the agent is shut out at once. Whoever asks again after an error here writes the same blob.
    let bytes = serde_json::to_vec(&standing).map_err(|error| Failure::Damaged(error.to_string()))?;
    core.blobs.put_state(&agent.tenant.clone().into(), Digest::of(&bytes), bytes).await?;
    Ok(RevokeAgentResponse { revoked_at: Timestamp::from_millis(standing.revoked_at).to_string() })
}

/// One read by primary key.
pub(crate) async fn refuse_revoked(core: &Core, agent: &AgentRef) -> Result<(), Status> {
    if is_revoked(core, agent).await? {
        let message = "this agent was revoked: the archive takes nothing from it any more";
        return Err(refusal(Code::PermissionDenied, AGENT_REVOKED, message));
    }
    Ok(())
}

pub(super) async fn is_revoked(core: &Core, agent: &AgentRef) -> Result<bool, Failure> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from ingest.revoked_agent where tenant = $1 and agent = $2) as "found!""#,
        agent.tenant.as_str(),
        agent.name.as_str()
    )
    .fetch_one(&mut *begin(&core.pool, TenantScope::One(&agent.tenant)).await?)
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_revocation_fits_its_limit_and_another_state_is_none() {
        let longest = Revocation {
            kind: KIND.to_owned(),
            tenant: "t".repeat(63),
            agent: "a".repeat(63),
            revoked_at: i64::MAX,
            reason: "\u{7f}\\".repeat(REVOCATION_REASON_BYTES_MAX / 2),
            v: 1,
        };
        let bytes = serde_json::to_vec(&longest).unwrap();
        assert!(bytes.len() <= REVOCATION_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Revocation::decode(&bytes), Some(longest));
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("agent-revoked", "hold"),
            text.replace("\"v\":1", "\"v\":1,\"w\":1"),
        ] {
            assert_eq!(Revocation::decode(other.as_bytes()), None, "{other}");
        }
    }
}
