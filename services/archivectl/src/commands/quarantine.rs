use serde_json::json;

use super::given;
use crate::{
    answers::{self, Quarantine, QuarantinedMessage, Released},
    api::Api,
    arguments::{QuarantineListArguments, QuarantineReleaseArguments},
    failure::Failure,
    output,
    table::table,
    terminal::shortened,
};

const REASON_CHARACTERS_MAX: usize = 60;

pub(crate) fn list(api: &Api, arguments: &QuarantineListArguments) -> Result<(), Failure> {
    let asked = given([
        ("limit", Some(arguments.limit.to_string())),
        ("after", arguments.after.map(|after| after.to_string())),
    ]);
    let answer = api.get("/api/v1/quarantine/", &asked)?;
    let found: Quarantine = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(rows(&found.messages)))?;
    if let Some(next) = found.next_after {
        output::remark(&format!("there may be more: --after {next} goes on"));
    }
    Ok(())
}

pub(crate) fn release(api: &Api, arguments: &QuarantineReleaseArguments) -> Result<(), Failure> {
    let id = arguments.id;
    let path = format!("/api/v1/quarantine/{id}/release");
    let answer = api.post(&path, &json!({ "reason": arguments.reason }))?;
    let done: Released = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || {
        Ok(format!("{id} is released from quarantine (leaf {} of the evidence log)\n", done.leaf_index))
    })
}

fn rows(messages: &[QuarantinedMessage]) -> String {
    let rows = messages.iter().map(|message| {
        [
            message.id.clone(),
            message.archived_at.clone(),
            message.agent.clone(),
            shortened(&message.reason, REASON_CHARACTERS_MAX),
        ]
    });
    table(["ID", "ARCHIVED", "AGENT", "REASON"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantined_mail_is_a_line_with_what_did_not_fit() {
        let answer = json!({ "next_after": 7, "messages": [{
            "id": "sha256:aa", "agent": "mx1", "reason": "no journal\nheader", "archived_at": "2024-03-01T08:00:00.000Z",
        }] });
        let found: Quarantine = answers::read(&answer).unwrap();
        assert_eq!(found.next_after, Some(7));
        insta::assert_snapshot!(rows(&found.messages), @r"
        ID         ARCHIVED                  AGENT  REASON
        sha256:aa  2024-03-01T08:00:00.000Z  mx1    no journal�header
        ");
    }
}
