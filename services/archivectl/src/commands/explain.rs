use serde_json::json;

use crate::{
    answers::{self, Explanation, Node},
    api::Api,
    arguments::SearchArguments,
    failure::Failure,
    output, terminal,
};

/// Says how a query is understood, without searching.
pub(crate) fn run(api: &Api, arguments: &SearchArguments) -> Result<(), Failure> {
    let answer = api.post("/api/v1/search/explain/", &json!({ "query": arguments.query }))?;
    output::answer(&answer, arguments.list.format, || Ok(lines(&answers::read(&answer)?)))
}

/// The canonical query, and below it the tree, one line a node.
fn lines(explanation: &Explanation) -> String {
    let mut text = terminal::line(&explanation.canonical_query);
    for node in &explanation.nodes {
        text.push('\n');
        text.push_str(&"  ".repeat(node.depth + 1));
        text.push_str(&terminal::line(&line(node)));
    }
    text
}

fn line(node: &Node) -> String {
    let Some(meaning) = &node.text else {
        return match (&node.first, &node.last) {
            (None, None) => node.kind.clone(),
            (first, last) => {
                let end = |end: &Option<String>| end.clone().unwrap_or_default();
                format!("{} {}..{}", node.kind, end(first), end(last))
            }
        };
    };
    let form = match (meaning.form.as_str(), meaning.distance) {
        ("prefix", _) => " (the last a beginning)".to_owned(),
        ("near", Some(distance)) => format!(" (in any order, at most {distance} words among them)"),
        _ => String::new(),
    };
    let words = (!meaning.words.is_empty()).then(|| format!("{}{form}", meaning.words.join(" ")));
    let whole = meaning.whole.iter().map(|whole| format!("{whole} as a whole"));
    let wanted: Vec<String> = words.into_iter().chain(whole).collect();
    format!("{}: {}", meaning.fields.join(", "), wanted.join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_explained_as_a_tree_of_lines() {
        let answer = json!({ "version": 1, "canonical_query": "a -(\"b c\"~3 OR from:x@y.test) size:..9", "nodes": [
            { "depth": 0, "kind": "and" },
            { "depth": 1, "kind": "text", "text": { "fields": ["subject", "participant"], "form": "prefix",
                "words": ["a"], "whole": ["@a", "a"] } },
            { "depth": 1, "kind": "not" },
            { "depth": 2, "kind": "or" },
            { "depth": 3, "kind": "text", "text": { "fields": ["body"], "form": "near", "distance": 3,
                "words": ["b", "c"], "whole": [] } },
            { "depth": 3, "kind": "text", "text": { "fields": ["from"], "form": "whole", "words": [],
                "whole": ["x@y.test\u{1b}"] } },
            { "depth": 1, "kind": "size", "last": "9" },
            { "depth": 1, "kind": "has-attachment" },
        ] });
        insta::assert_snapshot!(lines(&answers::read(&answer).unwrap()), @r#"
        a -("b c"~3 OR from:x@y.test) size:..9
          and
            subject, participant: a (the last a beginning), or @a as a whole, or a as a whole
            not
              or
                body: b c (in any order, at most 3 words among them)
                from: x@y.test� as a whole
            size ..9
            has-attachment
        "#);
    }
}
