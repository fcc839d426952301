//! Mail addresses in texts that somebody wrote.

use serde_json::Value;

/// Stands for a word that may be a mail address.
pub(super) const LEFT_OUT: &str = "(left out: an address)";

/// The text without words that have an @ in them: digests of images go, too, and stand elsewhere.
pub(super) fn without(text: &str) -> String {
    let is_end = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';')
    };
    text.split_inclusive(is_end)
        .map(|word| {
            let bare = word.trim_end_matches(is_end);
            if bare.contains('@') { format!("{LEFT_OUT}{}", &word[bare.len()..]) } else { word.to_owned() }
        })
        .collect()
}

/// The same in every text of a value, names of fields included.
pub(super) fn without_in(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_in).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, field)| (without(&name), without_in(field))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_word_with_an_at_sign_is_left_and_every_other_is() {
        let check = |text: &str, expected: &str| assert_eq!(without(text), expected);
        check("keeps 3 mails for a year", "keeps 3 mails for a year");
        check("the policy of jane@example.org, locked", "the policy of (left out: an address), locked");
        check("<jane@example.org> \"j@x\"", "<(left out: an address)> \"(left out: an address)\"");
        check("jane@example.org", "(left out: an address)");
        check("", "");
        check("ü jäne@exämple.org\nnext line", "ü (left out: an address)\nnext line");
        assert_eq!(
            without_in(json!({"a": ["x@y", 1], "v:x@y": null})),
            json!({"a": [LEFT_OUT, 1], LEFT_OUT: null})
        );
    }
}
