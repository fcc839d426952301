use openarchive_domain::Digest;
use serde_json::{Value, json};

use super::{given, mails, path_segment};
use crate::{
    answers::{self, Hold, HoldSet, Holds, Released},
    api::Api,
    arguments::{HoldListArguments, HoldReleaseArguments, HoldSetArguments},
    failure::Failure,
    file, output,
    table::table,
    terminal::{self, shortened},
};

/// Longest file of ids that is read, in bytes: 100,000 mails and to spare.
const IDS_BYTES_MAX: u64 = 16 * 1024 * 1024;
const TEXT_CHARACTERS_MAX: usize = 40;

/// Reads the ids before it asks the archive.
pub(crate) fn set(
    connect: impl FnOnce() -> Result<Api, Failure>,
    arguments: &HoldSetArguments,
) -> Result<(), Failure> {
    let body = body(arguments)?;
    let answer = connect()?.post("/api/v1/holds/", &body)?;
    let set: HoldSet = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || {
        let kept = format!("hold {} keeps {}\n", terminal::line(&set.hold), mails(set.messages));
        Ok(match set.unindexed {
            Some(unindexed @ 1..) => {
                kept + &format!(
                    "no query finds {}: not indexed (archivectl jobs list --state dead)\n",
                    mails(unindexed)
                )
            }
            _ => kept,
        })
    })
}

fn body(arguments: &HoldSetArguments) -> Result<Value, Failure> {
    let mut body = json!({ "reason": arguments.reason });
    if let Some(name) = &arguments.name {
        body["hold"] = json!(name);
    }
    match (&arguments.query, &arguments.file) {
        (Some(query), _) => body["query"] = json!(query),
        (None, Some(path)) => {
            let text = file::read_or_stdin(path, IDS_BYTES_MAX)?;
            let ids = ids(&String::from_utf8_lossy(&text))
                .map_err(|line| Failure::other(format!("{}: line {line} is no id", path.display())))?;
            body["messages"] = json!(ids);
        }
        (None, None) => {
            body["messages"] = arguments.ids.iter().map(Digest::to_string).collect();
        }
    }
    Ok(body)
}

/// One on each line; empty lines and those that begin with # say nothing. Fails with the number of the bad line.
fn ids(text: &str) -> Result<Vec<String>, usize> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(number, line)| line.parse::<Digest>().map(|id| id.to_string()).map_err(|_| number)).collect()
}

pub(crate) fn list(api: &Api, arguments: &HoldListArguments) -> Result<(), Failure> {
    let asked = given([
        ("message", arguments.message.map(|message| message.to_string())),
        ("released", arguments.released.then(|| "true".to_owned())),
    ]);
    let answer = api.get("/api/v1/holds/", &asked)?;
    let found: Holds = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(rows(&found.holds)))
}

pub(crate) fn release(api: &Api, arguments: &HoldReleaseArguments) -> Result<(), Failure> {
    let hold = path_segment(&arguments.hold, "a hold's name")?;
    let path = format!("/api/v1/holds/{hold}/release");
    let answer = api.post(&path, &json!({ "reason": arguments.reason }))?;
    let done: Released = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || {
        Ok(format!("hold {hold} is released (leaf {} of the evidence log)\n", done.leaf_index))
    })
}

fn rows(holds: &[Hold]) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = holds.iter().map(|hold| {
        [
            hold.name.clone(),
            hold.messages.to_string(),
            hold.created_at.clone(),
            or_empty(&hold.released_at),
            shortened(&hold.reason, TEXT_CHARACTERS_MAX),
            shortened(&or_empty(&hold.query), TEXT_CHARACTERS_MAX),
        ]
    });
    table(["HOLD", "MAILS", "SET", "RELEASED", "REASON", "QUERY"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_a_line_with_its_reason() {
        let answer = json!({ "holds": [
            { "hold": "case-1", "reason": "Court\u{1b}[2J of Basel", "query": "from:alice", "messages": 12,
              "created_at": "2024-03-01T08:00:00.000Z", "created_by": "tok" },
            { "hold": "case-2", "reason": "x".repeat(50), "messages": 1, "created_at": "2024-03-02T08:00:00.000Z",
              "created_by": "tok", "released_at": "2024-03-03T08:00:00.000Z", "released_by": "tok" },
        ] });
        let found: Holds = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&found.holds), @r"
        HOLD    MAILS  SET                       RELEASED                  REASON                                    QUERY
        case-1  12     2024-03-01T08:00:00.000Z                            Court�[2J of Basel                        from:alice
        case-2  1      2024-03-02T08:00:00.000Z  2024-03-03T08:00:00.000Z  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        ");
    }

    #[test]
    fn a_file_of_ids_has_one_on_each_line() {
        let id = Digest::of(b"1").to_string();
        assert_eq!(ids(&format!("# case 1\r\n{id}\r\n\n  {id}\n")), Ok(vec![id.clone(), id.clone()]));
        assert_eq!(ids(""), Ok(Vec::new()));
        assert_eq!(ids(&format!("{id}\n\nsha256:12\n")), Err(3));
    }
}
