use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};
use openarchive_domain::Digest;
use openarchive_proto::ingest::v1::{GetProofRequest, ObservationKey, ObservationSummary};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{instance_text, message};
use crate::{
    audit::Action,
    backends::{PROOF_TIME_MAX, call, everything},
    caller::Caller,
    extract::{MessageId, Parameters},
    gateway::Services,
    problem::{Kind, Problem},
    refusal::Service,
};

/// Which observation to prove: the first, or the one that matches all that is given.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Name of the agent.
    agent: Option<String>,
    /// UUID of the agent's buffer.
    instance: Option<String>,
    /// Decimal.
    agent_epoch: Option<u64>,
    /// Decimal.
    seq: Option<u64>,
}

impl Which {
    const fn is_first(&self) -> bool {
        self.agent.is_none() && self.instance.is_none() && self.agent_epoch.is_none() && self.seq.is_none()
    }

    fn matches(&self, observation: &ObservationSummary) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        fits(self.agent.as_ref(), &observation.agent)
            && fits(self.instance.as_ref(), &instance_text(&observation.instance))
            && fits(self.agent_epoch.as_ref(), &observation.agent_epoch)
            && fits(self.seq.as_ref(), &observation.seq)
    }
}

/// Prove that a mail was archived: a C2SP tlog-proof that `archivectl verify` checks offline, as others can.
#[utoipa::path(
    get,
    path = "/api/v1/archive/emails/{id}/proof",
    operation_id = "proveEmail",
    tag = "mail",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits."), Which),
    responses(
        (status = 200, description = "The proof.", content_type = "text/plain; charset=utf-8", body = String),
        (status = 404, description = "No such mail, or no such observation.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn prove(
    caller: Caller,
    MessageId(message): MessageId,
    Parameters(which): Parameters<Which>,
    State(services): State<Arc<Services>>,
) -> Result<impl IntoResponse, Problem> {
    let read = get(&caller, &services, message, &which);
    let proof = services.audited(&caller, Action::MessageProof, &message.to_string(), read).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof))
}

async fn get(
    caller: &Caller,
    services: &Services,
    message: Digest,
    which: &Which,
) -> Result<String, Problem> {
    let observation = if which.is_first() {
        None
    } else {
        Some(choose(&message::get(caller, services, message).await?.observations, which)?)
    };
    let request = GetProofRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        message: message.as_bytes().to_vec().into(),
        observation,
    };
    let request = call(request, &caller.request, PROOF_TIME_MAX);
    let answer = services.backends.catalogue.clone().get_proof(request).await;
    Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().proof)
}

fn choose(observations: &[ObservationSummary], which: &Which) -> Result<ObservationKey, Problem> {
    let mut matching = observations.iter().filter(|observation| which.matches(observation));
    match (matching.next(), matching.next()) {
        (Some(one), None) => Ok(ObservationKey {
            agent: one.agent.clone(),
            instance: one.instance.clone(),
            agent_epoch: one.agent_epoch,
            seq: one.seq,
        }),
        (None, _) => Err(Problem::not_found("no observation of this mail matches")),
        (Some(_), Some(_)) => {
            let detail = "several observations match: name agent, instance, agent_epoch and seq of one";
            Err(Problem::new(Kind::Ambiguous, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_observation_must_match_what_is_given() {
        let seen = |agent: &str, instance: u8, seq| ObservationSummary {
            agent: agent.to_owned(),
            instance: vec![instance; 16].into(),
            agent_epoch: 7,
            seq,
            ..ObservationSummary::default()
        };
        let all = [seen("mx1", 1, 5), seen("mx1", 2, 5), seen("mx2", 3, 9)];
        let check = |which: Which, expected: Result<u8, Kind>| {
            let found = choose(&all, &which).map(|key| key.instance[0]).map_err(|problem| problem.kind());
            assert_eq!(found, expected, "{which:?}");
        };
        let agent = |name: &str| Which { agent: Some(name.to_owned()), ..Which::default() };
        check(agent("mx2"), Ok(3));
        check(agent("mx1"), Err(Kind::Ambiguous));
        check(agent("mx3"), Err(Kind::NotFound));
        let instance = Some("02020202-0202-0202-0202-020202020202".to_owned());
        check(Which { instance, ..agent("mx1") }, Ok(2));
        check(Which { seq: Some(9), ..Which::default() }, Ok(3));
        check(Which { agent_epoch: Some(8), ..Which::default() }, Err(Kind::NotFound));
        assert!(Which::default().is_first());
    }
}
