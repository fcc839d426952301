use serde_json::{Value, json};

use crate::{
    answers::{self, SearchPage, SearchResult},
    api::Api,
    arguments::SearchArguments,
    failure::Failure,
    output,
    table::table,
    terminal::shortened,
};

/// Most results that are asked for at once.
const PAGE_RESULTS_MAX: u64 = 1_000;
const FROM_CHARACTERS_MAX: usize = 32;
const SUBJECT_CHARACTERS_MAX: usize = 60;

pub(crate) fn run(api: &Api, arguments: &SearchArguments) -> Result<(), Failure> {
    let limit = if arguments.all { u64::MAX } else { u64::from(arguments.limit) };
    let mut found = page(api, &arguments.query, limit, arguments.cursor.as_deref())?;
    loop {
        let (have, next) = {
            let so_far: SearchPage = answers::read(&found)?;
            (so_far.results.len() as u64, so_far.next_cursor)
        };
        let Some(cursor) = next.filter(|_| have < limit) else { break };
        let mut further = page(api, &arguments.query, limit - have, Some(&cursor))?;
        let more: SearchPage = answers::read(&further)?;
        if more.results.is_empty() {
            break;
        }
        append(&mut found, &mut further);
    }
    let whole: SearchPage = answers::read(&found)?;
    output::answer(&found, arguments.list.format, || Ok(rows(&whole.results)))?;
    if whole.total == 0 {
        output::remark("nothing found");
    } else if whole.total > whole.results.len() as u64 {
        let (shown, total) = (whole.results.len(), whole.total);
        output::remark(&format!("{shown} of {total} shown: --all shows all, --limit N shows more"));
    }
    Ok(())
}

fn page(api: &Api, query: &str, limit: u64, cursor: Option<&str>) -> Result<Value, Failure> {
    let body = json!({ "query": query, "limit": limit.min(PAGE_RESULTS_MAX), "cursor": cursor });
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
    fn pages_become_one_answer_with_the_cursor_of_the_last() {
        let mut found = json!({ "total": 3, "results": [1], "next_cursor": "a" });
        append(&mut found, &mut json!({ "total": 3, "results": [2], "next_cursor": "b" }));
        assert_eq!(found, json!({ "total": 3, "results": [1, 2], "next_cursor": "b" }));
        append(&mut found, &mut json!({ "total": 3, "results": [3] }));
        assert_eq!(found, json!({ "total": 3, "results": [1, 2, 3] }));
    }
}
