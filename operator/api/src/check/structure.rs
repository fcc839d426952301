//! Types, required and unknown fields, enumerations, patterns and bounds: JSON Schema's errors in the API server's words.

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::{Location, LocationSegment},
};
use serde_json::Value;

use super::Problem;

pub(super) fn problems(validator: &Validator, object: &Value) -> Vec<Problem> {
    validator.iter_errors(object).flat_map(|error| problems_of(&error)).collect()
}

fn problems_of(error: &ValidationError<'_>) -> Vec<Problem> {
    let path = path_of(error.instance_path());
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let path = child(&path, property.as_str().unwrap_or_default());
            return vec![Problem { path, message: "Required value".to_owned() }];
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let unknown = |name: &String| {
                let path = child(&path, name);
                Problem { message: format!("unknown field \"{path}\""), path }
            };
            return unexpected.iter().map(unknown).collect();
        }
        kind => words(kind).unwrap_or_else(|| format!("breaks the schema's {}", kind.keyword())),
    };
    vec![Problem { path, message }]
}

fn words(kind: &ValidationErrorKind) -> Option<String> {
    Some(match kind {
        ValidationErrorKind::Type { kind } => format!("Invalid value: must be of type {}", type_of(kind)),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options.as_array()?.iter().map(Value::to_string).collect();
            format!("Unsupported value: supported values: {}", options.join(", "))
        }
        ValidationErrorKind::Pattern { pattern } => format!("Invalid value: should match '{pattern}'"),
        ValidationErrorKind::MinLength { limit } => {
            format!("Invalid value: should be at least {limit} chars long")
        }
        ValidationErrorKind::MaxLength { limit } => format!("Too long: may not be more than {limit} bytes"),
        ValidationErrorKind::MinItems { limit } => {
            format!("Invalid value: should have at least {limit} items")
        }
        ValidationErrorKind::MaxItems { limit } => format!("Too many: must have at most {limit} items"),
        ValidationErrorKind::Minimum { limit } => {
            format!("Invalid value: should be greater than or equal to {}", number(limit))
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("Invalid value: should be less than or equal to {}", number(limit))
        }
        _ => return None,
    })
}

/// The definition holds every bound as a float: `1` instead of `1.0`.
fn number(limit: &Value) -> String {
    limit.as_f64().map_or_else(|| limit.to_string(), |limit| limit.to_string())
}

fn type_of(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => {
            let named = several.iter().filter(|one| *one != JsonType::Null).map(|one| one.to_string());
            named.collect::<Vec<_>>().join(" or ")
        }
    }
}

/// `spec.tenants[1].name` instead of `/spec/tenants/1/name`.
fn path_of(location: &Location) -> String {
    location.segments().fold(String::new(), |path, segment| match segment {
        LocationSegment::Property(name) => child(&path, &name),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
