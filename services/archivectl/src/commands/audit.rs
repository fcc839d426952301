use super::given;
use crate::{
    answers::{self, Audit, AuditEntry},
    api::Api,
    arguments::AuditListArguments,
    failure::Failure,
    output,
    table::table,
    terminal::shortened,
};

const OBJECT_CHARACTERS_MAX: usize = 80;

pub(crate) fn run(api: &Api, arguments: &AuditListArguments) -> Result<(), Failure> {
    let asked = given([
        ("after", arguments.after.map(|index| index.to_string())),
        ("limit", Some(arguments.limit.to_string())),
        ("objects", arguments.objects.then(|| "true".to_owned())),
    ]);
    let answer = api.get("/api/v1/audit/", &asked)?;
    let found: Audit = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(rows(&found.leaves)))
}

fn rows(leaves: &[AuditEntry]) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = leaves.iter().map(|leaf| {
        [
            leaf.index.to_string(),
            or_empty(&leaf.time),
            or_empty(if leaf.action.is_some() { &leaf.action } else { &leaf.kind }),
            or_empty(&leaf.actor),
            or_empty(&leaf.request),
            shortened(&or_empty(&leaf.object), OBJECT_CHARACTERS_MAX),
        ]
    });
    table(["INDEX", "TIME", "ACTION", "ACTOR", "REQUEST", "OBJECT"], rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_are_shown_newest_last_and_those_without_an_action_by_their_kind() {
        let answer = json!({ "size": 2, "leaves": [
            { "index": 0, "kind": "log", "time": "2024-03-01T08:00:00.000Z", "action": null,
              "actor": null, "request": null, "leaf": {} },
            { "index": 1, "kind": "audit", "time": "2024-03-01T08:00:01.000Z", "action": "search",
              "actor": "token-1", "request": "r-1", "object": "from:alice\u{202e}", "object_key": "k", "leaf": {} },
        ] });
        let found: Audit = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&found.leaves), @r"
        INDEX  TIME                      ACTION  ACTOR    REQUEST  OBJECT
        0      2024-03-01T08:00:00.000Z  log
        1      2024-03-01T08:00:01.000Z  search  token-1  r-1      from:alice�
        ");
    }
}
