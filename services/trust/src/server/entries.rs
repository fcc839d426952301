use openarchive_domain::Digest;
use openarchive_ledger::leaf::FirstLeaf;
use openarchive_proto::trust::v1 as proto;
use serde_json::Value;
use tonic::Status;

use super::refusals::{invalid, leaf_too_long};
use crate::{leaf_key, log_state::LogName, sequencer::Entry};

/// Checks what can be known of entries before they have a place: whatever comes out can be appended.
pub(super) fn parse(log: &LogName, entries: &[proto::AppendEntry]) -> Result<Vec<Entry>, Status> {
    if entries.is_empty() {
        return Err(invalid("no entry is to be appended"));
    }
    entries.iter().map(|entry| parse_entry(log, entry)).collect()
}

fn parse_entry(log: &LogName, entry: &proto::AppendEntry) -> Result<Entry, Status> {
    let key = Digest::try_from(entry.idempotency_key.as_ref())
        .map_err(|_| invalid("an idempotency key has not 32 bytes"))?;
    // The parser's own message could quote the body.
    let body: Value = serde_json::from_str(&entry.body).map_err(|_| invalid("a leaf's body is not JSON"))?;
    if body["kind"] == FirstLeaf::KIND {
        return Err(invalid("leaf 0 is made by the sequencer alone"));
    }
    if body.get("tenant").is_some_and(|tenant| tenant != log.owner().as_str()) {
        return Err(invalid(format!("a leaf of another tenant does not belong into log {log}")));
    }
    let expected = leaf_key::of_body(&body).map_err(leaf_too_long)?;
    if key != expected {
        return Err(invalid(
            "an idempotency key is not the one of its leaf's identifying fields: a rebuild could not restore it",
        ));
    }
    Ok(Entry { key, expected_previous: entry.expected_previous, body })
}
