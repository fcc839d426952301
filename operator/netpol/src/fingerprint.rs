//! Hashes by which an auditor compares what is applied with what the graph demands.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use openarchive_domain::Digest;
use openarchive_ledger::jcs::{self, JcsError};
use serde::Serialize;
use serde_json::{Value, json};

/// One policy in the status of a NetworkPolicySet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    pub name: String,
    /// Of the canonical JSON (RFC 8785) of its specification, lowercase hex. Of what is applied and of what was built it is
    /// the same exactly if both enforce the same: labels and annotations, which others may add to, are not in it.
    pub sha256: String,
    /// Of both directions.
    pub rules: usize,
}

/// In the order of `policies`. An error means a specification that no API server gives and [`crate::build`] never makes.
pub fn fingerprints(policies: &[NetworkPolicy]) -> Result<Vec<Fingerprint>, JcsError> {
    policies
        .iter()
        .map(|policy| {
            Ok(Fingerprint {
                name: policy.metadata.name.clone().unwrap_or_default(),
                sha256: hash(&specification(policy))?,
                rules: rules(policy),
            })
        })
        .collect()
}

/// One hash for all of `policies`, whatever their order: of the canonical JSON of a list of `{name, namespace, spec}`,
/// lowercase hex.
pub fn graph_hash(policies: &[NetworkPolicy]) -> Result<String, JcsError> {
    let mut policies: Vec<&NetworkPolicy> = policies.iter().collect();
    let key = |policy: &NetworkPolicy| (policy.metadata.namespace.clone(), policy.metadata.name.clone());
    policies.sort_by_cached_key(|policy| key(policy));
    let list: Vec<Value> = policies
        .into_iter()
        .map(|policy| {
            let metadata = &policy.metadata;
            json!({"name": metadata.name, "namespace": metadata.namespace, "spec": specification(policy)})
        })
        .collect();
    hash(&Value::Array(list))
}

fn specification(policy: &NetworkPolicy) -> Value {
    json!(policy.spec)
}

fn hash(value: &Value) -> Result<String, JcsError> {
    Ok(Digest::of(jcs::canonicalize(value)?.as_bytes()).hex())
}

fn rules(policy: &NetworkPolicy) -> usize {
    let Some(spec) = &policy.spec else { return 0 };
    spec.ingress.as_ref().map_or(0, Vec::len) + spec.egress.as_ref().map_or(0, Vec::len)
}
