use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::jcs;
use serde_json::{Value, json};

/// A set of policies is in force. Says nothing of whom they name: the record that it points at is encrypted and salted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyLeaf {
    pub(crate) version: u64,
    /// SHA-256 of the state blob.
    pub(crate) record: Digest,
    pub(crate) occurred_at: Timestamp,
}

impl PolicyLeaf {
    const KIND: &'static str = "policies";

    fn value(&self) -> Value {
        json!({
            "kind": Self::KIND,
            "occurred_at": self.occurred_at.to_string(),
            "record": self.record.to_string(),
            "tenant": "_",
            "v": 1,
            "version": self.version.to_string(),
        })
    }

    /// The leaf without its time, in canonical form.
    pub(crate) fn body(&self) -> String {
        jcs::canonicalize(&self.value()).expect("a policy leaf is strings and a 1 under ASCII keys")
    }

    /// As the log has it for leaves whose kind has no identifying fields of its own.
    pub(crate) fn idempotency_key(&self) -> Digest {
        Digest::of(self.body().as_bytes())
    }

    /// None: the bytes are a leaf of another kind, or none.
    pub(crate) fn parse(leaf: &[u8]) -> Option<Self> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(leaf) else { return None };
        fields.remove("time")?;
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        let found = Self {
            version: text("version")?.parse().ok()?,
            record: text("record")?.parse().ok()?,
            occurred_at: text("occurred_at")?.parse().ok()?,
        };
        (found.value() == Value::Object(fields)).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use openarchive_ledger::leaf::stamp;

    use super::*;

    #[test]
    fn a_leaf_reads_back_and_nothing_else_is_one() {
        let leaf = PolicyLeaf {
            version: 7,
            record: Digest::of(b"record"),
            occurred_at: "2026-05-01T10:00:00.000Z".parse().unwrap(),
        };
        let body: Value = serde_json::from_str(&leaf.body()).unwrap();
        let bytes = stamp(body, Timestamp::from_millis(8)).unwrap();
        assert_eq!(PolicyLeaf::parse(&bytes), Some(leaf));
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace("policies", "policy"),
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"_\"", "\"acme\""),
            text.replace("\"v\":1", "\"v\":1,\"w\":1"),
            text.replace("\"7\"", "\"07\""),
            "[]".to_owned(),
        ] {
            assert_eq!(PolicyLeaf::parse(other.as_bytes()), None, "{other}");
        }
    }
}
