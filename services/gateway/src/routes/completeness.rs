use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_domain::AgentName;
use openarchive_proto::ingest::v1::{CompletenessRequest, CompletenessRow, SeqRange};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::instance_text;
use crate::{
    audit::Action, caller::Caller, extract::Parameters, gateway::Services, problem::Problem, refusal::Service,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Name of an agent; all agents if absent.
    #[serde(default)]
    agent: String,
    /// YYYY-MM-DD (UTC, by the agent's clock); all time if absent.
    #[serde(default)]
    day: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletenessAnswer {
    rows: Vec<CompletenessOfAgent>,
}

/// The numbers that one buffer of an agent gave out, and what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletenessOfAgent {
    agent: String,
    instance: String,
    /// Decimal: more than a JSON number holds everywhere.
    agent_epoch: String,
    first_seq: u64,
    last_seq: u64,
    /// The highest number that the agent itself spoke of.
    announced_seq: u64,
    stored: u64,
    duplicate: u64,
    quarantined: u64,
    /// Given out by the agent and not yet committed.
    pending: u64,
    /// Numbers that are missing: mail was lost. At most 1,000 ranges.
    gaps: Vec<Gap>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gap {
    first: u64,
    last: u64,
}

/// Show whether mail is missing: every number that an agent gave out is stored, a duplicate, quarantined, or a gap.
#[utoipa::path(
    get,
    path = "/api/v1/completeness/",
    operation_id = "readCompleteness",
    tag = "evidence",
    params(Asked),
    responses((status = 200, description = "A row for each buffer of each agent.", body = CompletenessAnswer)),
)]
pub(crate) async fn read(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<CompletenessAnswer>, Problem> {
    if !asked.agent.is_empty() && asked.agent.parse::<AgentName>().is_err() {
        return Err(Problem::invalid("agent must be an agent's name: 1 to 63 of a-z, 0-9 and -"));
    }
    // The catalogue knows which days there are; this only keeps other text out of the audit record.
    if !asked.day.is_empty() && !is_day(&asked.day) {
        return Err(Problem::invalid("day must be YYYY-MM-DD"));
    }
    let object = format!("agent={} day={}", asked.agent, asked.day);
    let read = async {
        let request =
            CompletenessRequest { tenant: caller.tenant.to_string(), agent: asked.agent, day: asked.day };
        let answer = services.backends.catalogue.clone().completeness(caller.call(request)).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
    };
    let found = services.audited(&caller, Action::CompletenessRead, &object, read).await?;
    Ok(Json(CompletenessAnswer { rows: found.rows.into_iter().map(row).collect() }))
}

fn is_day(text: &str) -> bool {
    let form = |(position, byte): (usize, u8)| match position {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(form)
}

fn row(row: CompletenessRow) -> CompletenessOfAgent {
    let gap = |range: SeqRange| Gap { first: range.first, last: range.last };
    CompletenessOfAgent {
        agent: row.agent,
        instance: instance_text(&row.instance),
        agent_epoch: row.agent_epoch.to_string(),
        first_seq: row.first_seq,
        last_seq: row.last_seq,
        announced_seq: row.announced_seq,
        stored: row.stored,
        duplicate: row.duplicate,
        quarantined: row.quarantined,
        pending: row.pending,
        gaps: row.gaps.into_iter().map(gap).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_ten_characters() {
        assert!(is_day("2024-02-29"));
        for bad in ["2024-2-29", "2024/02/29", "20240229ab", "", "2024-02-29x"] {
            assert!(!is_day(bad), "{bad}");
        }
    }
}
