//! The gateway's answers, as far as tables show them. `-o json` shows them as they came.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;

/// Reads an answer; a field that is missing means another version of the gateway.
pub(crate) fn read<'a, T: Deserialize<'a>>(answer: &'a Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| {
        Failure::other(format!(
            "the archive's answer is not understood ({error}): are both of the same version?"
        ))
    })
}

#[derive(Debug, Deserialize)]
pub(crate) struct SearchPage {
    pub(crate) total: u64,
    pub(crate) results: Vec<SearchResult>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SearchResult {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) date: Option<String>,
    pub(crate) length: u64,
    pub(crate) highlights: Option<Highlights>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Highlights {
    pub(crate) state: String,
    pub(crate) fragments: Vec<Fragment>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Fragment {
    pub(crate) field: String,
    pub(crate) text: String,
    pub(crate) matches: Vec<Match>,
}

/// Characters of the fragment's text.
#[derive(Debug, Deserialize)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) canonical_query: String,
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) depth: usize,
    pub(crate) kind: String,
    pub(crate) text: Option<Meaning>,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Meaning {
    pub(crate) fields: Vec<String>,
    pub(crate) form: String,
    pub(crate) distance: Option<u32>,
    pub(crate) words: Vec<String>,
    pub(crate) whole: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) length: u64,
    pub(crate) class: String,
    pub(crate) flags: Vec<String>,
    pub(crate) archived_at: String,
    pub(crate) observations: Vec<Observation>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Observation {
    pub(crate) agent: String,
    pub(crate) seq: u64,
    pub(crate) state: String,
    pub(crate) envelope: Envelope,
    pub(crate) occurred_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Completeness {
    pub(crate) rows: Vec<CompletenessRow>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CompletenessRow {
    pub(crate) agent: String,
    pub(crate) instance: String,
    pub(crate) agent_epoch: String,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) quarantined: u64,
    pub(crate) pending: u64,
    pub(crate) gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    pub(crate) leaves: Vec<AuditEntry>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AuditEntry {
    pub(crate) index: u64,
    pub(crate) kind: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) object: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Enrolment {
    pub(crate) agent: String,
    pub(crate) token: String,
    pub(crate) expires_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) agent: String,
    pub(crate) revoked_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Agents {
    pub(crate) agents: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Agent {
    #[serde(rename = "agent")]
    pub(crate) name: String,
    pub(crate) instance: String,
    pub(crate) highest_seq: u64,
    pub(crate) announced_seq: u64,
    pub(crate) buffered_messages: u64,
    pub(crate) last_seen: String,
    pub(crate) version: String,
    /// Absent in answers of older gateways, too.
    pub(crate) certificate_not_after: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Jobs {
    #[serde(rename = "jobs")]
    pub(crate) listed: Vec<Job>,
    pub(crate) ready: u64,
    pub(crate) running: u64,
    pub(crate) dead: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) attempts: u32,
    pub(crate) last_error: String,
    pub(crate) run_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HoldSet {
    pub(crate) hold: String,
    pub(crate) messages: u64,
    pub(crate) unindexed: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Holds {
    pub(crate) holds: Vec<Hold>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Hold {
    #[serde(rename = "hold")]
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) query: Option<String>,
    pub(crate) messages: u64,
    pub(crate) created_at: String,
    pub(crate) released_at: Option<String>,
}

/// Of a hold, of a quarantined mail, of the suspension: what is shown is the leaf that says so.
#[derive(Debug, Deserialize)]
pub(crate) struct Released {
    pub(crate) leaf_index: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Quarantine {
    pub(crate) messages: Vec<QuarantinedMessage>,
    pub(crate) next_after: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct QuarantinedMessage {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) reason: String,
    pub(crate) archived_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ShredOrdered {
    pub(crate) shred: String,
    pub(crate) leaf_index: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Shred {
    #[serde(rename = "shred")]
    pub(crate) order: String,
    pub(crate) cause: String,
    pub(crate) state: String,
    pub(crate) leaf_index: u64,
    pub(crate) messages: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExpiryPlan {
    pub(crate) plan: String,
    pub(crate) lines: u32,
    pub(crate) expiring: u32,
    pub(crate) next: Option<String>,
    pub(crate) suspended_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExpiryRun {
    pub(crate) orders: Vec<ExpiryOrder>,
    pub(crate) messages: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExpiryOrder {
    pub(crate) shred: String,
    pub(crate) leaf_index: u64,
    pub(crate) messages: u32,
}
