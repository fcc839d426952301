use serde_json::{Value, json};

use crate::{
    answers::{self, Fragment, SearchPage, SearchResult},
    api::Api,
    arguments::SearchArguments,
    failure::Failure,
    output,
    table::table,
    terminal::{self, shortened},
};

/// Most results that are asked for at once.
const PAGE_RESULTS_MAX: u64 = 1_000;
/// Most results with highlights that are asked for at once.
const HIGHLIGHTED_RESULTS_MAX: u64 = 50;
const FROM_CHARACTERS_MAX: usize = 32;
const SUBJECT_CHARACTERS_MAX: usize = 60;

pub(crate) fn run(api: &Api, arguments: &SearchArguments) -> Result<(), Failure> {
    let limit = if arguments.all { u64::MAX } else { u64::from(arguments.limit) };
    let mut found = page(api, arguments, limit, arguments.cursor.as_deref())?;
    loop {
        let (have, next) = {
            let so_far: SearchPage = answers::read(&found)?;
            (so_far.results.len() as u64, so_far.next_cursor)
        };
        let Some(cursor) = next.filter(|_| have < limit) else { break };
        let mut further = page(api, arguments, limit - have, Some(&cursor))?;
        let more: SearchPage = answers::read(&further)?;
        if more.results.is_empty() {
            break;
        }
        append(&mut found, &mut further);
    }
    let whole: SearchPage = answers::read(&found)?;
    output::answer(&found, arguments.list.format, || {
        Ok(with_highlights(&rows(&whole.results), &whole.results))
    })?;
    if whole.total == 0 {
        output::remark("nothing found");
    } else if whole.total > whole.results.len() as u64 {
        let (shown, total) = (whole.results.len(), whole.total);
        output::remark(&format!("{shown} of {total} shown: --all shows all, --limit N shows more"));
    }
    Ok(())
}

fn page(api: &Api, arguments: &SearchArguments, limit: u64, cursor: Option<&str>) -> Result<Value, Failure> {
    let most = if arguments.highlight { HIGHLIGHTED_RESULTS_MAX } else { PAGE_RESULTS_MAX };
    let mut body = json!({ "query": arguments.query, "limit": limit.min(most), "cursor": cursor });
    if arguments.highlight {
        body["highlight"] = json!(true);
    }
    api.post("/api/v1/search/emails/", &body)
}

/// The results of a further page behind those of `found`, and its cursor in place of the old one.
fn append(found: &mut Value, further: &mut Value) {
    if let (Some(results), Some(more)) = (found["results"].as_array_mut(), further["results"].as_array_mut())
    {
        results.append(more);
    }
    match further.get_mut("next_cursor").map(Value::take) {
        Some(cursor) => found["next_cursor"] = cursor,
        None => {
            found.as_object_mut().map(|found| found.remove("next_cursor"));
        }
    }
}

fn rows(results: &[SearchResult]) -> String {
    let rows = results.iter().map(|result| {
        [
            result.id.clone(),
            result.date.clone().unwrap_or_default(),
            shortened(&result.from, FROM_CHARACTERS_MAX),
            result.length.to_string(),
            shortened(&result.subject, SUBJECT_CHARACTERS_MAX),
        ]
    });
    table(["ID", "DATE", "FROM", "BYTES", "SUBJECT"], rows)
}

/// Below each result's line its pieces of text, the words that were found in `«»`.
fn with_highlights(table: &str, results: &[SearchResult]) -> String {
    let mut lines = table.lines();
    let mut text: Vec<String> = lines.next().map(str::to_owned).into_iter().collect();
    for (line, result) in lines.zip(results) {
        text.push(line.to_owned());
        let Some(highlights) = &result.highlights else { continue };
        text.extend(
            highlights
                .fragments
                .iter()
                .map(|fragment| format!("    {}: {}", fragment.field, marked(fragment))),
        );
        if highlights.state != "complete" {
            text.push(format!("    ({})", terminal::line(&highlights.state)));
        }
    }
    text.join("\n")
}

/// One line: white space is shown as one space.
fn marked(fragment: &Fragment) -> String {
    let mut text = String::new();
    for (at, c) in fragment.text.chars().enumerate() {
        if fragment.matches.iter().any(|found| found.start == at) {
            text.push('«');
        }
        text.push(c);
        if fragment.matches.iter().any(|found| found.end == at + 1) {
            text.push('»');
        }
    }
    terminal::line(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_lines_of_id_date_sender_size_and_subject() {
        let page = json!({ "total": 2, "canonical_query": "x", "results": [
            { "id": "sha256:aa", "subject": "Angebot für März", "from": "Änne <a@x.test>", "date": "2024-03-01T08:00:00.000Z", "length": 12 },
            { "id": "sha256:bb", "subject": "\u{1b}[2Jgone\r\n", "from": "b@x.test".repeat(9), "date": null, "length": 123_456 },
        ] });
        let page: SearchPage = answers::read(&page).unwrap();
        insta::assert_snapshot!(rows(&page.results), @r"
        ID         DATE                      FROM                              BYTES   SUBJECT
        sha256:aa  2024-03-01T08:00:00.000Z  Änne <a@x.test>                   12      Angebot für März
        sha256:bb                            b@x.testb@x.testb@x.testb@x.tes…  123456  �[2Jgone��
        ");
    }

    #[test]
    fn highlights_stand_below_their_result_and_cannot_steer_the_terminal() {
        let page = json!({ "total": 2, "results": [
            { "id": "sha256:aa", "subject": "x", "from": "a@x.test", "date": null, "length": 1, "highlights": {
                "state": "partial", "fragments": [
                    { "field": "body", "text": "für\r\n\u{1b}[2J März <b>", "matches": [{ "start": 0, "end": 3 }, { "start": 10, "end": 14 }] },
                ] } },
            { "id": "sha256:bb", "subject": "y", "from": "b@x.test", "date": null, "length": 2 },
        ] });
        let page: SearchPage = answers::read(&page).unwrap();
        insta::assert_snapshot!(with_highlights(&rows(&page.results), &page.results), @r"
        ID         DATE  FROM      BYTES  SUBJECT
        sha256:aa        a@x.test  1      x
            body: «für» �[2J «März» <b>
            (partial)
        sha256:bb        b@x.test  2      y
        ");
    }

    #[test]
    fn pages_become_one_answer_with_the_cursor_of_the_last() {
        let mut found = json!({ "total": 3, "results": [1], "next_cursor": "a" });
        append(&mut found, &mut json!({ "total": 3, "results": [2], "next_cursor": "b" }));
        assert_eq!(found, json!({ "total": 3, "results": [1, 2], "next_cursor": "b" }));
        append(&mut found, &mut json!({ "total": 3, "results": [3] }));
        assert_eq!(found, json!({ "total": 3, "results": [1, 2, 3] }));
    }
}
