use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Which Kubernetes object. Sorts as the objects of a snapshot do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectId {
    pub api_version: String,
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl ObjectId {
    /// `None` if `object` lacks what names a Kubernetes object.
    pub fn of(object: &Value) -> Option<Self> {
        let named = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let metadata = &object["metadata"];
        let namespace = match metadata.get("namespace") {
            Some(namespace) => named(namespace)?,
            None => String::new(),
        };
        Some(Self {
            api_version: named(&object["apiVersion"])?,
            kind: named(&object["kind"])?,
            namespace,
            name: named(&metadata["name"])?,
        })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.api_version, self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
