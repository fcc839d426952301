//! No value of a Secret and no address of a person enters a snapshot: in its place stands an HMAC, which changes when the
//! value does and says nothing of it to whoever lacks the key.
//!
//! Addresses: a snapshot is kept as long as the archive lives and is never erased, and exports of it go to auditors.
//! Personal data stands only as commitments in what cannot be erased (evidence.md section 4).

#[cfg(test)]
mod tests;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// Length of the key that the values of Secrets are hashed under, in bytes.
pub const MAC_KEY_BYTES: usize = 32;

/// Block of SHA-256, in bytes: RFC 2104 pads shorter keys to it with zeroes.
const BLOCK_BYTES: usize = 64;
const CONTEXT: &[u8] = b"openarchive/snapshot-secret/v1";
const PREFIX: &str = "hmac-sha256:";

/// What `kubectl apply` writes beside an object: the whole of it, with all its values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Fields of a Secret's metadata that are configuration. Their values are kept, those of annotations as HMAC.
const SECRET_METADATA: [&str; 6] =
    ["annotations", "finalizers", "labels", "name", "namespace", "ownerReferences"];

/// The key in Secret `<name>-snapshot-mac`. Never rotated in place: another key has another version.
#[derive(Clone)]
pub struct MacKey {
    name: String,
    version: u32,
    key: [u8; MAC_KEY_BYTES],
}

impl MacKey {
    /// `name`: of the Secret that keeps it. `key` must come from a random source.
    pub fn new(name: impl Into<String>, version: u32, key: [u8; MAC_KEY_BYTES]) -> Self {
        Self { name: name.into(), version, key }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn version(&self) -> u32 {
        self.version
    }

    /// HMAC over where the value stands and the value, so that equal values of two Secrets do not look equal.
    fn text(&self, place: &SecretPlace<'_>, value: &[u8]) -> String {
        let mut block = [0; BLOCK_BYTES];
        block[..MAC_KEY_BYTES].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        let names = [place.namespace, place.name, place.field.group(), place.key];
        mac.update(CONTEXT);
        for part in names.map(str::as_bytes) {
            // Names of Kubernetes hold no zero byte; the value comes last and may.
            mac.update(&[0]);
            mac.update(part);
        }
        mac.update(&[0]);
        mac.update(value);
        format!("{PREFIX}{}", hex::encode(mac.finalize().into_bytes()))
    }
}

/// Shows the name only.
impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({}, version {}, hidden)", self.name, self.version)
    }
}

/// Kind and group of objects that name people, and where they do.
const POLICY_KIND: &str = "RetentionPolicy";
const POLICY_GROUP: &str = "openarchive.dev/";
/// Longest list of addresses that have an HMAC each; a longer one has one for all, or snapshots would grow with the people.
const MAILBOXES_MAX: usize = 32;
/// What stands in the place of a longer list, and nothing beside it.
const LIST_COUNT: &str = "count";
const LIST_MAC: &str = "hmac";

/// Why an object that holds values of a Secret cannot be redacted. Holds names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    #[error("its field `{0}` is none that a Secret as applied has")]
    Field(String),
    #[error("its value `{0}` is not what that field of a Secret holds")]
    Value(String),
    #[error("its match.mailboxes is no list of addresses")]
    Mailboxes,
}

/// The fields whose values are hidden: three of a Secret, one of a RetentionPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecretField {
    Data,
    StringData,
    Annotation,
    Mailbox,
    /// A list that is too long for one HMAC each.
    Mailboxes,
}

impl SecretField {
    /// `stringData` is written into `data` by the API server: the same bytes get the same HMAC.
    const fn group(self) -> &'static str {
        match self {
            Self::Data | Self::StringData => "data",
            Self::Annotation => "annotation",
            Self::Mailbox => "mailbox",
            Self::Mailboxes => "mailboxes",
        }
    }
}

struct SecretPlace<'a> {
    namespace: &'a str,
    name: &'a str,
    field: SecretField,
    key: &'a str,
}

type Replace<'a> = dyn Fn(&SecretPlace<'_>, &str) -> Option<String> + 'a;

/// Puts HMACs in the place of values of Secrets, at any depth, and drops what is not configuration: `managedFields` and
/// what kubectl last applied.
pub(crate) fn redact(object: &mut Value, mac: &MacKey) -> Result<(), RedactError> {
    walk(object, &|place, value| {
        Some(match place.field {
            SecretField::Data => mac.text(place, &STANDARD.decode(value).ok()?),
            SecretField::StringData
            | SecretField::Annotation
            | SecretField::Mailbox
            | SecretField::Mailboxes => mac.text(place, value.as_bytes()),
        })
    })
}

/// Whether an object is what [`redact`] leaves.
pub(crate) fn is_redacted(object: &Value) -> bool {
    let mut again = object.clone();
    let kept = walk(&mut again, &|_, value| is_mac(value).then(|| value.to_owned()));
    kept.is_ok() && again == *object
}

fn is_mac(text: &str) -> bool {
    let hex = |digits: &str| {
        digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    text.strip_prefix(PREFIX).is_some_and(hex)
}

fn walk(value: &mut Value, replace: &Replace<'_>) -> Result<(), RedactError> {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                strip(metadata);
            }
            // Not a mere reference to a Secret, which has a kind, too.
            let holds = ["data", "metadata", "stringData"].iter().any(|field| fields.contains_key(*field));
            if holds && fields.get("kind").and_then(Value::as_str) == Some("Secret") {
                return secret(fields, replace);
            }
            if is_policy(fields) {
                mailboxes(fields, replace)?;
            }
            fields.values_mut().try_for_each(|child| walk(child, replace))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|child| walk(child, replace)),
        _ => Ok(()),
    }
}

fn is_policy(fields: &Map<String, Value>) -> bool {
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    text("kind") == POLICY_KIND && text("apiVersion").starts_with(POLICY_GROUP)
}

/// The same address has the same HMAC in one policy, and another one in another; a long list has one, and says how long it is.
fn mailboxes(fields: &mut Map<String, Value>, replace: &Replace<'_>) -> Result<(), RedactError> {
    let (namespace, name) = (named(fields, "namespace"), named(fields, "name"));
    let place = SecretPlace { namespace: &namespace, name: &name, field: SecretField::Mailbox, key: "" };
    let found = fields.get_mut("spec").and_then(|spec| spec.get_mut("match")?.get_mut("mailboxes"));
    // Snapshots of earlier versions have lists of any length with an HMAC each.
    let is_hidden = |address: &Value| address.as_str().is_some_and(is_mac);
    match found {
        None => Ok(()),
        Some(list) if is_list_mac(list) => Ok(()),
        Some(list @ Value::Array(_))
            if list.as_array().is_some_and(|all| all.len() > MAILBOXES_MAX && !all.iter().all(is_hidden)) =>
        {
            let count = list.as_array().map_or(0, Vec::len);
            let place = SecretPlace { field: SecretField::Mailboxes, ..place };
            let hidden = replace(&place, &list.to_string()).ok_or(RedactError::Mailboxes)?;
            *list = json!({ LIST_COUNT: count, LIST_MAC: hidden });
            Ok(())
        }
        Some(Value::Array(addresses)) => addresses.iter_mut().try_for_each(|address| {
            let hidden = address.as_str().and_then(|text| replace(&place, text));
            *address = Value::String(hidden.ok_or(RedactError::Mailboxes)?);
            Ok(())
        }),
        Some(_) => Err(RedactError::Mailboxes),
    }
}

fn is_list_mac(value: &Value) -> bool {
    let Value::Object(fields) = value else { return false };
    let is_long =
        fields.get(LIST_COUNT).and_then(Value::as_u64).is_some_and(|count| count > MAILBOXES_MAX as u64);
    let has_mac = fields.get(LIST_MAC).and_then(Value::as_str).is_some_and(is_mac);
    fields.len() == 2 && is_long && has_mac
}

fn named(fields: &Map<String, Value>, field: &str) -> String {
    let text = fields.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn strip(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        let stripped = annotations.remove(LAST_APPLIED).is_some();
        // As if the annotation had never been there.
        if stripped && annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

fn secret(fields: &mut Map<String, Value>, replace: &Replace<'_>) -> Result<(), RedactError> {
    let (namespace, name) = (named(fields, "namespace"), named(fields, "name"));
    let hide = |values: &mut Value, field| match values {
        Value::Null => Ok(()),
        Value::Object(values) => values.iter_mut().try_for_each(|(key, value)| {
            let place = SecretPlace { namespace: &namespace, name: &name, field, key };
            let hidden = value.as_str().and_then(|text| replace(&place, text));
            *value = Value::String(hidden.ok_or_else(|| RedactError::Value(key.clone()))?);
            Ok(())
        }),
        _ => Err(RedactError::Value(field.group().to_owned())),
    };
    // A list of what may stay, not of what must go: a field that is not known could hold anything.
    for (field, value) in fields.iter_mut() {
        match field.as_str() {
            "apiVersion" | "kind" | "type" if value.is_string() => {}
            "immutable" if value.is_boolean() => {}
            "data" => hide(value, SecretField::Data)?,
            "stringData" => hide(value, SecretField::StringData)?,
            "metadata" => {
                let metadata = value.as_object_mut().ok_or_else(|| RedactError::Field(field.clone()))?;
                if let Some(other) = metadata.keys().find(|key| !SECRET_METADATA.contains(&key.as_str())) {
                    return Err(RedactError::Field(format!("metadata.{other}")));
                }
                if let Some(annotations) = metadata.get_mut("annotations") {
                    hide(annotations, SecretField::Annotation)?;
                }
            }
            _ => return Err(RedactError::Field(field.clone())),
        }
    }
    Ok(())
}
