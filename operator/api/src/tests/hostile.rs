//! `check` on what nobody would write: it answers, whatever it is.

use proptest::{collection, option, prelude::*};
use serde_json::{Value, json};
use std::sync::LazyLock;

use crate::{
    Kind, check,
    table::{Row, rows},
};

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(rows);

/// Texts at which parsers of quantities, ranges and names break.
const NASTY: &[&str] = &[
    "",
    " ",
    "0",
    "-0",
    "1e400",
    "1e-400",
    "1e2147483647",
    "-1e2147483648",
    "9223372036854775808",
    "+",
    "-",
    ".",
    "..",
    "1.",
    ".1",
    "1.1.1",
    "Ki",
    "1KiKi",
    "999999999999999999999999999999Ei",
    "1e",
    "1E",
    "1Ee",
    "0/0",
    "/",
    "1/1/1",
    "::/999",
    "::ffff:1.2.3.4/128",
    "fe80::1%lo/64",
    "\u{0}",
    "\u{fffd}\u{202e}",
    "٣Gi",
    "10.0.0.0/٨",
    "${x}",
    "{{x}}",
    "null",
    "true",
    "a\nb",
    "999.999.999.999/1",
    "https://\u{e9}",
    "spiffe://x",
];

/// Names that lead deeper.
const KNOWN: &[&str] =
    &["apiVersion", "kind", "metadata", "name", "spec", "status", "tenants", "listeners", "match"];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(NASTY).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(KNOWN).prop_map(str::to_owned), "\\PC{0,6}"]
}

fn json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            collection::btree_map(name(), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

/// Every place in it, by JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let mut below = |name: &str, value| {
        places(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, value)| below(&i.to_string(), value)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_json_is_answered(kind in prop::sample::select(&Kind::ALL[..]), object in json(), old in option::of(json())) {
        prop_assert!(!check(kind, &object, old.as_ref()).is_empty());
    }

    #[test]
    fn any_json_in_any_place_of_an_object_is_answered(
        row in any::<prop::sample::Index>(),
        places_of in collection::vec((any::<prop::sample::Index>(), prop_oneof![3 => leaf(), 1 => json()]), 1..3),
    ) {
        let row = row.get(&ROWS);
        let mut object = row.object.clone();
        for (place, value) in places_of {
            let mut found = Vec::new();
            places(&object, "", &mut found);
            if let Some(target) = object.pointer_mut(place.get::<String>(&found)) {
                *target = value;
            }
        }
        for old in [None, row.old.as_ref(), Some(&row.object)] {
            check(row.kind, &object, old);
        }
        check(row.kind, &row.object, Some(&object));
    }
}
