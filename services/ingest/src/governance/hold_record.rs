use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_ledger::jcs;
use serde_json::{Value, json};

/// Longest record of a hold, in bytes: 100,000 mails and to spare.
pub(crate) const HOLD_RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// All that a hold is, as it stands in an encrypted state blob. Its salt makes the blob's digest, which stands in the
/// ledger, say nothing of the mail.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HoldRecord {
    pub(crate) tenant: Tenant,
    pub(crate) hold: String,
    pub(crate) reason: String,
    pub(crate) query: String,
    /// Ascending, each once.
    pub(crate) messages: Vec<Digest>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) salt: [u8; 32],
}

/// Shows no reason, no query, no salt.
impl std::fmt::Debug for HoldRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HoldRecord({} of {} mails)", self.hold, self.messages.len())
    }
}

impl HoldRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let messages: Vec<String> = self.messages.iter().map(Digest::hex).collect();
        let record = json!({
            "created_at": self.created_at.to_string(),
            "created_by": self.created_by,
            "hold": self.hold,
            "kind": "hold",
            "messages": messages,
            "query": self.query,
            "reason": self.reason,
            "salt": hex::encode(self.salt),
            "tenant": self.tenant.as_str(),
            "v": 1,
        });
        jcs::canonicalize(&record).expect("a hold is strings and a 1 under ASCII keys").into_bytes()
    }

    /// Reads exactly what [`Self::encode`] writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        let messages = value["messages"].as_array()?.iter();
        let record = Self {
            tenant: text("tenant")?.parse().ok()?,
            hold: text("hold")?,
            reason: text("reason")?,
            query: text("query")?,
            messages: messages.map(|hex| Digest::from_hex(hex.as_str()?).ok()).collect::<Option<_>>()?,
            created_at: text("created_at")?.parse().ok()?,
            created_by: text("created_by")?,
            salt: hex::decode(text("salt")?).ok()?.try_into().ok()?,
        };
        (record.encode() == bytes).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_nothing_else_is_one() {
        let record = HoldRecord {
            tenant: "acme".parse().unwrap(),
            hold: "case-1".to_owned(),
            reason: "Größe \"x\"".to_owned(),
            query: "from:a".to_owned(),
            messages: vec![Digest::of(b"1"), Digest::of(b"2")],
            created_at: Timestamp::from_millis(5),
            created_by: "tok".to_owned(),
            salt: [3; 32],
        };
        let bytes = record.encode();
        assert!(HoldRecord::decode(&bytes) == Some(record.clone()));
        assert!(HoldRecord { salt: [4; 32], ..record }.encode() != bytes);
        let text = String::from_utf8(bytes).unwrap();
        for bad in
            [text.replace("\"v\":1", "\"v\":2"), text.replace("\"v\":1", "\"v\":1,\"w\":1"), String::new()]
        {
            assert!(HoldRecord::decode(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
