//! The installed schema as JSON Schema: what Kubernetes understands beside it is said in JSON Schema's own words.

use jsonschema::{Draft, PatternOptions, Validator};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::cel::{CompiledSchema, compile_schema};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::sync::LazyLock;

use crate::{GROUP, Kind, VERSION, schemas};

pub(super) struct Checker {
    pub(super) schema: Value,
    pub(super) structure: Validator,
    pub(super) rules: CompiledSchema,
}

static CHECKERS: LazyLock<[Result<Checker, String>; Kind::ALL.len()]> =
    LazyLock::new(|| Kind::ALL.map(Checker::new));

impl Checker {
    pub(super) fn of(kind: Kind) -> Result<&'static Self, &'static String> {
        CHECKERS[kind as usize].as_ref()
    }

    fn new(kind: Kind) -> Result<Self, String> {
        let mut schema = kind.schema();
        let fields = ["apiVersion", "kind", "metadata", "spec"];
        schema["required"] = json!(fields);
        schema["properties"]["apiVersion"] =
            json!({"type": "string", "enum": [format!("{GROUP}/{VERSION}")]});
        schema["properties"]["kind"] = json!({"type": "string", "enum": [kind.name()]});
        schema["properties"]["metadata"] = metadata();
        schema["properties"]["status"] = json!({});
        close(&mut schema);
        let structure = jsonschema::options()
            .with_draft(Draft::Draft7)
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| format!("the schema of {} is broken: {error}", kind.name()))?;
        Ok(Self { structure, rules: compile_schema(&schema), schema })
    }
}

impl Kind {
    /// The schema that the API server holds (OpenAPI v3, structural).
    pub fn schema(self) -> Value {
        let crd = serde_json::to_value(self.crd()).unwrap_or_default();
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
    }
}

/// Kubernetes' own schema of it, and the grammar of the two names.
fn metadata() -> Value {
    let mut generator =
        SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.root_schema_for::<ObjectMeta>().to_value();
    schema["required"] = json!(["name"]);
    schema["properties"]["name"] = schemas::object_name(&mut generator).to_value();
    schema["properties"]["namespace"] = schemas::dns_label(&mut generator).to_value();
    // Objects without a fixed shape, which only the API server writes.
    schema["properties"]["managedFields"] = json!({});
    schema
}

/// Refuses unknown fields (strict field validation), and says int-or-string as a type. Nulls are gone before.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let is = |keyword: &str| fields.get(keyword) == Some(&Value::Bool(true));
    let open = is("x-kubernetes-preserve-unknown-fields");
    if is("x-kubernetes-int-or-string") {
        fields.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if fields.get("type") == Some(&json!("object")) && !open && !fields.contains_key("additionalProperties") {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for keyword in ["items", "additionalProperties"] {
        fields.get_mut(keyword).into_iter().for_each(close);
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
    }
}
