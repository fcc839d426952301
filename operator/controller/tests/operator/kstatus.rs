//! How others judge an object: the published rules of kstatus (sigs.k8s.io/cli-utils, package pkg/kstatus/status), for kinds
//! that it does not know by name. Argo CD and Flux go by them.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    InProgress,
    Current,
    Failed,
    Terminating,
}

/// Deletion first, then the generation, then `Reconciling` and `Stalled` in the order in which they stand, then `Ready`. Of an
/// object that says nothing of itself it is assumed that nothing is to be done.
pub(crate) fn standing(object: &Value) -> Standing {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    if metadata["deletionTimestamp"].is_string() {
        return Standing::Terminating;
    }
    let (generation, observed) = (&metadata["generation"], &status["observedGeneration"]);
    if generation.is_i64() && observed.is_i64() && generation != observed {
        return Standing::InProgress;
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return Standing::InProgress,
            Some("Stalled") => return Standing::Failed,
            _ => {}
        }
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    if ready.is_none_or(|ready| ready["status"] == "True") { Standing::Current } else { Standing::InProgress }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_published_rules_in_their_order() {
        let check = |metadata: Value, observed: Value, conditions: &[(&str, &str)], expected: Standing| {
            let conditions: Vec<_> =
                conditions.iter().map(|(type_, status)| json!({"type": type_, "status": status})).collect();
            let mut status = json!({"conditions": conditions});
            if !observed.is_null() {
                status["observedGeneration"] = observed;
            }
            let object = json!({"metadata": metadata, "status": status});
            assert_eq!(standing(&object), expected, "{object}");
        };
        let (good, stalled) = ([("Ready", "True")], [("Ready", "False"), ("Stalled", "True")]);
        let deleted = json!({"generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"});
        check(deleted, json!(1), &good, Standing::Terminating);
        check(json!({"generation": 2}), json!(1), &stalled, Standing::InProgress);
        check(json!({"generation": 1}), json!(-1), &[], Standing::InProgress);
        check(json!({"generation": 1}), json!(1), &stalled, Standing::Failed);
        let both = [("Reconciling", "True"), ("Stalled", "True"), ("Ready", "True")];
        check(json!({"generation": 1}), json!(1), &both, Standing::InProgress);
        let idle = [("Reconciling", "False"), ("Stalled", "False")];
        check(json!({"generation": 1}), json!(1), &[&idle[..], &good].concat(), Standing::Current);
        check(json!({"generation": 1}), json!(1), &[("Ready", "Unknown")], Standing::InProgress);
        check(json!({"generation": 1}), json!(1), &[("Ready", "False")], Standing::InProgress);
        check(json!({"generation": 1}), Value::Null, &[], Standing::Current);
    }
}
