//! Defaults and nulls, as the API server treats them before it validates
//! (apiextensions-apiserver, `pkg/apiserver/schema/defaulting`). A null that is allowed is as good as absent to the rules
//! (apiserver, `pkg/cel/common/values.go`).

use serde_json::Value;

use super::duplicates::identity;

/// The object with defaults filled in, without nulls in its fields, and without status.
pub(super) fn admitted(schema: &Value, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    admit(schema, &mut object);
    object
}

fn admit(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                let nullable = property.get("nullable") == Some(&Value::Bool(true));
                if let Some(default) = property.get("default")
                    && fields.get(name).is_none_or(|value| value.is_null() && !nullable)
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            let schema_of = |name: &str| {
                let property = properties.and_then(|properties| properties.get(name));
                property.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
            };
            fields.retain(|name, value| !value.is_null() || schema_of(name).is_none());
            for (name, value) in fields {
                if let Some(schema) = schema_of(name) {
                    admit(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    admit(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// Puts the old object's sets and maps into the new one's order: to rules that compare them, order means nothing there.
pub(super) fn align(schema: &Value, old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, old) in old {
                if let (Some(schema), Some(new)) =
                    (schema.pointer("/properties").and_then(|all| all.get(name)), new.get(name))
                {
                    align(schema, old, new);
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let order: Vec<_> = new.iter().map(|item| identity(schema, item)).collect();
            old.sort_by_key(|item| {
                let identity = identity(schema, item);
                order.iter().position(|other| identity.is_some() && *other == identity)
            });
        }
        _ => {}
    }
}
