//! Places in JSON documents as people read them, like `spec.containers[0].image` or `metadata.labels["a/b"]`.

use openarchive_ledger::jcs;
use serde_json::Value;

pub(crate) fn member(place: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, place.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{place}.{key}"),
        (false, _) => format!("{place}[{}]", text(&Value::from(key))),
    }
}

pub(crate) fn item(place: &str, position: usize) -> String {
    format!("{place}[{position}]")
}

/// A value as canonical JSON, fit to be shown: foreign text must not steer the reader's terminal, nor turn what stands
/// beside it (bidirectional controls).
pub(crate) fn text(value: &Value) -> String {
    shown(&jcs::canonicalize(value).unwrap_or_else(|_| value.to_string()))
}

pub(crate) fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The innermost place at which `value`, which has no canonical form, has none.
pub(crate) fn of_fault(value: &Value, place: String) -> String {
    let faulty = |value: &Value| jcs::canonicalize(value).is_err();
    let within = match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find(|(_, child)| faulty(child))
            .map(|(n, child)| (item(&place, n), child)),
        Value::Object(fields) => {
            fields.iter().find(|(_, child)| faulty(child)).map(|(key, child)| (member(&place, key), child))
        }
        _ => None,
    };
    match within {
        Some((place, child)) => of_fault(child, place),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_is_named_by_its_innermost_place() {
        let check = |value: Value, place: &str| assert_eq!(of_fault(&value, String::new()), place, "{value}");
        check(json!({ "spec": { "list": [1, 2, { "ratio": 0.5 }] } }), "spec.list[2].ratio");
        check(json!({ "a": { "x/y": { "b": 1.0 } } }), r#"a["x/y"].b"#);
        check(json!({ "a": { "ü": 1 } }), "a");
    }

    #[test]
    fn shown_text_steers_no_terminal() {
        assert_eq!(text(&json!("a\u{1b}[31m\u{202e}\u{9b}b")), "\"a\\u001b[31m\u{fffd}\u{fffd}b\"");
        assert_eq!(member("", "a\u{202e}b"), "[\"a\u{fffd}b\"]");
    }
}
