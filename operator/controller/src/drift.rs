//! Whether a live object still says what was built: pure.
//!
//! The API server adds defaults and rewrites quantities, so equality would never hold. A live object covers a desired one
//! if every value that was built stands there, and no list has other elements than were built.

use serde_json::Value;

/// Metadata that was built (labels, annotations, owner references) and everything outside it, but for `status`.
pub(crate) fn covers(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.iter().all(|(key, value)| match live.get(key) {
                Some(found) => covers(value, found),
                None => is_empty(value),
            })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| covers(desired, live))
        }
        (Value::String(desired), Value::String(live)) => desired == live || same_quantity(desired, live),
        _ => desired == live,
    }
}

/// [`covers`], and nothing stands beside what was built: for objects to which the API server adds no defaults, and where a
/// field too many is a hole.
pub(crate) fn is_exactly(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            let keys = desired.keys().chain(live.keys());
            keys.into_iter().all(|key| match (desired.get(key), live.get(key)) {
                (Some(desired), Some(live)) => is_exactly(desired, live),
                (Some(one), None) | (None, Some(one)) => {
                    matches!(one, Value::Null) || one.as_array().is_some_and(Vec::is_empty)
                }
                (None, None) => true,
            })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| is_exactly(desired, live))
        }
        _ => desired == live,
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// `1000m` and `1`, `1024Mi` and `1Gi`: the API server writes quantities in a form of its own.
pub(crate) fn same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if one == other)
}

/// In thousandths. `None` for what is no quantity, or too large to compare.
fn quantity(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    scaled(number, suffix)
}

fn scaled(number: &str, suffix: &str) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 3 || whole.is_empty() {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse::<i128>().ok()?;
    let factor: i128 = match suffix {
        "m" => return fraction.is_empty().then_some(thousandths / 1_000),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    thousandths.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(desired: &Value, live: &Value, expected: bool) {
        assert_eq!(covers(desired, live), expected, "{desired} by {live}");
    }

    #[test]
    fn defaults_that_the_server_adds_are_no_drift() {
        check(&json!({"a": 1}), &json!({"a": 1, "b": 2}), true);
        check(&json!({"a": [{"x": 1}]}), &json!({"a": [{"x": 1, "protocol": "TCP"}]}), true);
        check(&json!({"a": []}), &json!({}), true);
        check(&json!({"a": {}, "b": null}), &json!({}), true);
    }

    #[test]
    fn what_was_built_must_stand() {
        check(&json!({"a": 1}), &json!({"a": 2}), false);
        check(&json!({"a": 1}), &json!({}), false);
        check(&json!({"a": false}), &json!({}), false);
        check(&json!({"a": "x"}), &json!({"a": "y"}), false);
    }

    #[test]
    fn a_list_with_more_or_fewer_elements_is_drift() {
        check(&json!({"a": [1]}), &json!({"a": [1, 2]}), false);
        check(&json!({"a": [1, 2]}), &json!({"a": [1]}), false);
        check(&json!({"a": []}), &json!({"a": [1]}), false);
    }

    #[test]
    fn in_a_network_policy_a_field_too_many_is_a_hole() {
        let matches = json!({"matchLabels": {"a": "b"}});
        for (desired, live, expected) in [
            (json!({"ingress": []}), json!({}), true),
            (json!({"ingress": []}), json!({"ingress": [{}]}), false),
            (json!({}), json!({"egress": [{}]}), false),
            (matches.clone(), matches.clone(), true),
            (matches, json!({"matchLabels": {"a": "b"}, "matchExpressions": [{}]}), false),
            (json!([{"podSelector": {}}]), json!([{"podSelector": {}, "namespaceSelector": {}}]), false),
            (json!([{"port": 1}]), json!([{"port": 1, "endPort": 9}]), false),
        ] {
            assert_eq!(is_exactly(&desired, &live), expected, "{desired} by {live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        for (one, other, same) in [
            ("1000m", "1", true),
            ("500m", "0.5", true),
            ("1024Mi", "1Gi", true),
            ("1Gi", "1G", false),
            ("1", "2", false),
            ("v1", "v1.0", false),
            ("100m", "100M", false),
        ] {
            check(&json!(one), &json!(other), same);
            check(&json!(other), &json!(one), same);
        }
    }
}
