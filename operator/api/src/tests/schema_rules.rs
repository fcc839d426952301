//! Reads every rule out of a schema, so that the table can be held against it.

use serde_json::{Map, Value};

/// One rule, and the words in which `check` says that it is broken.
#[derive(Debug)]
pub(super) struct Rule {
    /// With `[]` for every element of a list.
    pub(super) path: String,
    pub(super) words: String,
    pub(super) bound: Option<Bound>,
    /// Of an enumeration.
    pub(super) values: Vec<Value>,
}

#[derive(Debug)]
pub(super) enum Bound {
    Characters(usize),
    Elements(usize),
    Number(i64),
}

/// Everything that a specification must keep. What stands under `resources` is Kubernetes' own; status nobody writes.
pub(super) fn rules(schema: &Value) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut root = schema.clone();
    root["properties"]["status"].take();
    walk(&root, "", &mut rules);
    rules
}

fn walk(schema: &Value, path: &str, rules: &mut Vec<Rule>) {
    let Some(keywords) = schema.as_object() else { return };
    for (keyword, value) in keywords {
        for (path, words) in told(keyword, value, path, keywords) {
            let values = value.as_array().filter(|_| keyword == "enum").cloned().unwrap_or_default();
            rules.push(Rule { path, words, bound: bound(keyword, value), values });
        }
    }
    if path.ends_with("resources") {
        return;
    }
    for (name, property) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(property, &child(path, name), rules);
    }
    if let Some(items) = keywords.get("items") {
        walk(items, &format!("{path}[]"), rules);
    }
}

fn told(keyword: &str, value: &Value, path: &str, schema: &Map<String, Value>) -> Vec<(String, String)> {
    let here = |words: String| vec![(path.to_owned(), words)];
    match keyword {
        "required" => {
            let missing = |name: &Value| (child(path, name.as_str().unwrap()), "Required value".to_owned());
            value.as_array().unwrap().iter().map(missing).collect()
        }
        "properties" if !schema.contains_key("additionalProperties") => {
            let unknown = child(path, "surplus");
            vec![(unknown.clone(), format!("unknown field \"{unknown}\"").replace("[]", "[0]"))]
        }
        "enum" => here("supported values".to_owned()),
        "pattern" => here("should match '".to_owned()),
        "minLength" => here(format!("should be at least {value} chars long")),
        "maxLength" => here(format!("may not be more than {value} bytes")),
        "minItems" => here(format!("should have at least {value} items")),
        "maxItems" => here(format!("must have at most {value} items")),
        "minimum" => here(format!("should be greater than or equal to {}", value.as_f64().unwrap())),
        "maximum" => here(format!("should be less than or equal to {}", value.as_f64().unwrap())),
        "x-kubernetes-list-type" if value != "atomic" => {
            vec![(format!("{path}[]"), "Duplicate value".to_owned())]
        }
        "x-kubernetes-validations" => {
            let message = |rule: &Value| (path.to_owned(), rule["message"].as_str().unwrap().to_owned());
            value.as_array().unwrap().iter().map(message).collect()
        }
        _ => Vec::new(),
    }
}

fn bound(keyword: &str, value: &Value) -> Option<Bound> {
    let number = value.as_f64().map(|number| number as i64)?;
    match keyword {
        "minLength" | "maxLength" => Some(Bound::Characters(number as usize)),
        "minItems" | "maxItems" => Some(Bound::Elements(number as usize)),
        "minimum" | "maximum" => Some(Bound::Number(number)),
        _ => None,
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(super) fn without_indices(path: &str) -> String {
    let mut plain = String::new();
    for (index, part) in path.split('[').enumerate() {
        match part.split_once(']').filter(|_| index > 0) {
            Some((_, rest)) => plain += &format!("[]{rest}"),
            None => plain += part,
        }
    }
    plain
}

/// Every value that stands at a path with `[]` in it.
pub(super) fn values_at<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let steps = path.split('.').flat_map(|step| {
        let lists = step.matches("[]").count();
        std::iter::once(step.trim_end_matches("[]")).chain(std::iter::repeat_n("[]", lists))
    });
    steps.fold(vec![object], |values, step| {
        let next = |value: &'a Value| match step {
            "[]" => value.as_array().into_iter().flatten().collect::<Vec<_>>(),
            name => value.get(name).into_iter().collect(),
        };
        values.into_iter().flat_map(next).collect()
    })
}
