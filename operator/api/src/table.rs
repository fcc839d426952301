//! Objects that must be accepted and objects that must be refused, of every kind, at both sides of every rule. One table for
//! `check` and for the real API server: whoever applies it there sees the same verdicts.

mod archive_core;
mod distributed;
mod edge_agent;
mod network_policy_set;
mod retention_policy;
mod rows;

use serde_json::Value;

use crate::Kind;

/// One object, alone or in place of another, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// A sentence, the only one of its kind.
    pub name: String,
    pub kind: Kind,
    /// Accepted by itself. The object replaces it.
    pub old: Option<Value>,
    pub object: Value,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Both stand in the API server's answer; an empty path is the whole object.
    Refused {
        path: String,
        message: String,
    },
}

/// The table.
pub fn rows() -> Vec<Row> {
    [
        archive_core::rows(),
        distributed::rows(),
        edge_agent::rows(),
        network_policy_set::rows(),
        retention_policy::rows(),
    ]
    .concat()
}
