//! Lists that are sets or maps: no element, no key twice.

use serde_json::Value;
use std::collections::BTreeSet;

use super::Problem;

pub(super) fn problems(schema: &Value, object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(schema, object, "", &mut problems);
    problems
}

fn walk(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema.get("properties").and_then(|properties| properties.get(name)) {
                    walk(schema, value, &super::structure::child(path, name), problems);
                }
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if identity(schema, item).is_some_and(|identity| !seen.insert(identity)) {
                    problems.push(Problem { path: path.clone(), message: "Duplicate value".to_owned() });
                }
                if let Some(schema) = schema.get("items") {
                    walk(schema, item, &path, problems);
                }
            }
        }
        _ => {}
    }
}

/// What must not occur twice: a set's element, a map's keys. Nothing for an atomic list, or where a key is missing.
pub(super) fn identity(list: &Value, item: &Value) -> Option<String> {
    match list.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(item.to_string()),
        "map" => {
            let keys = list.get("x-kubernetes-list-map-keys")?.as_array()?;
            let values: Option<Vec<_>> = keys.iter().map(|key| item.get(key.as_str()?)).collect();
            values.map(|values| format!("{values:?}"))
        }
        _ => None,
    }
}
