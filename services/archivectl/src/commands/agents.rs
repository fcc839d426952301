use serde_json::json;

use crate::{
    answers::{self, Agent, Agents, Enrolment, Revocation},
    api::Api,
    arguments::{AgentsArguments, AgentsCommand, EnrolArguments, ListArguments, RevokeArguments},
    failure::Failure,
    output,
    table::table,
};

pub(crate) fn run(api: &Api, arguments: &AgentsArguments) -> Result<(), Failure> {
    match &arguments.command {
        None => list(api, arguments.list),
        Some(AgentsCommand::List(arguments)) => list(api, *arguments),
        Some(AgentsCommand::Enrol(arguments)) => enrol(api, arguments),
        Some(AgentsCommand::Revoke(arguments)) => revoke(api, arguments),
    }
}

fn enrol(api: &Api, arguments: &EnrolArguments) -> Result<(), Failure> {
    let path = format!("/api/v1/agents/{}/enrolments", arguments.name);
    let answer = api.post(&path, &json!({ "hours": arguments.hours }))?;
    let made: Enrolment = answers::read(&answer)?;
    output::remark(&format!(
        "agent {} may enrol once until {}: this token is not shown again; write it to a file on the agent's machine, \
         run `openarchive-edge enrol --config agent.yaml --token-file FILE`, and remove the file",
        made.agent, made.expires_at
    ));
    output::answer(&answer, arguments.list.format, || Ok(format!("{}\n", made.token)))
}

fn revoke(api: &Api, arguments: &RevokeArguments) -> Result<(), Failure> {
    let path = format!("/api/v1/agents/{}/revocation", arguments.name);
    let answer = api.post(&path, &json!({ "reason": arguments.reason }))?;
    let done: Revocation = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || {
        Ok(format!("agent {} is revoked since {}\n", done.agent, done.revoked_at))
    })
}

fn list(api: &Api, arguments: ListArguments) -> Result<(), Failure> {
    let answer = api.get("/api/v1/agents/", &[])?;
    let found: Agents = answers::read(&answer)?;
    output::answer(&answer, arguments.format, || Ok(rows(&found.agents)))
}

fn rows(agents: &[Agent]) -> String {
    let rows = agents.iter().map(|agent| {
        [
            agent.name.clone(),
            agent.instance.clone(),
            agent.highest_seq.to_string(),
            agent.announced_seq.to_string(),
            agent.buffered_messages.to_string(),
            agent.last_seen.clone(),
            agent.version.clone(),
            agent.certificate_not_after.clone().unwrap_or_default(),
        ]
    });
    let names = [
        "AGENT",
        "INSTANCE",
        "ARCHIVED",
        "ANNOUNCED",
        "BUFFERED",
        "LAST SEEN",
        "VERSION",
        "CERTIFICATE UNTIL",
    ];
    table(names, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_line() {
        let answer = json!({ "agents": [{
            "agent": "mx1", "instance": "018bcfe5-687b-7fff-bfff-ffffffffffff", "agent_epoch": "7",
            "highest_seq": 60, "announced_seq": 61, "buffered_messages": 1,
            "last_seen": "2024-03-01T08:00:00.000Z", "version": "0.1.0",
            "certificate_not_after": "2024-05-30T08:00:00.000Z",
        }, {
            "agent": "mx2", "instance": "018bcfe5-687b-7fff-bfff-ffffffffffff", "agent_epoch": "8",
            "highest_seq": 2, "announced_seq": 2, "buffered_messages": 0,
            "last_seen": "2024-03-01T08:00:01.000Z", "version": "0.1.0",
        }] });
        let found: Agents = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&found.agents), @r"
        AGENT  INSTANCE                              ARCHIVED  ANNOUNCED  BUFFERED  LAST SEEN                 VERSION  CERTIFICATE UNTIL
        mx1    018bcfe5-687b-7fff-bfff-ffffffffffff  60        61         1         2024-03-01T08:00:00.000Z  0.1.0    2024-05-30T08:00:00.000Z
        mx2    018bcfe5-687b-7fff-bfff-ffffffffffff  2         2          0         2024-03-01T08:00:01.000Z  0.1.0
        ");
    }
}
