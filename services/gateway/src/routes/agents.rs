use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_proto::ingest::v1::{AgentSummary, ListAgentsRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::instance_text;
use crate::{audit::Action, caller::Caller, gateway::Services, problem::Problem, refusal::Service};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentsAnswer {
    agents: Vec<AgentAnswer>,
}

/// One buffer of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentAnswer {
    agent: String,
    instance: String,
    /// Decimal: more than a JSON number holds everywhere.
    agent_epoch: String,
    /// The highest number that the archive has.
    highest_seq: u64,
    /// The highest number that the agent itself spoke of.
    announced_seq: u64,
    buffered_messages: u64,
    last_seen: String,
    version: String,
    /// Until when the certificate holds with which the agent reported last; absent if it has not reported with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_not_after: Option<String>,
}

/// List the agents that have spoken to the archive.
#[utoipa::path(
    get,
    path = "/api/v1/agents/",
    operation_id = "listAgents",
    tag = "evidence",
    responses((status = 200, description = "A row for each buffer of each agent.", body = AgentsAnswer)),
)]
pub(crate) async fn list(
    caller: Caller,
    State(services): State<Arc<Services>>,
) -> Result<Json<AgentsAnswer>, Problem> {
    let read = async {
        let request = ListAgentsRequest { tenant: caller.tenant.to_string(), agent: String::new() };
        let answer = services.backends.catalogue.clone().list_agents(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
    };
    let found = services.audited(&caller, Action::AgentsList, "all", read).await?;
    Ok(Json(AgentsAnswer { agents: found.agents.into_iter().map(agent).collect() }))
}

fn agent(agent: AgentSummary) -> AgentAnswer {
    AgentAnswer {
        agent: agent.agent,
        instance: instance_text(&agent.instance),
        agent_epoch: agent.agent_epoch.to_string(),
        highest_seq: agent.highest_seq,
        announced_seq: agent.announced_seq,
        buffered_messages: agent.buffered_messages,
        last_seen: agent.last_seen,
        version: agent.version,
        certificate_not_after: Some(agent.certificate_not_after).filter(|time| !time.is_empty()),
    }
}
