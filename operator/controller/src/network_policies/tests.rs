use k8s_openapi::jiff::Timestamp;
use openarchive_operator_api::{
    ArchiveCore, ConditionType, Conditions, Enforcement, NetworkPolicySet, NetworkPolicySetSpec,
    NetworkPolicySetStatus, PolicyMode,
};
use openarchive_operator_netpol::{Destination, Facts};
use serde_json::{Value, json};

use super::{
    ask::Answer,
    status::{Observed, status, waits_for},
};
use crate::{
    Halt, RESYNC_AFTER, Reason, Settings,
    archive::{build::facts, validate},
};

fn answer(verdict: Enforcement, reason: &str, probed_at: Option<&str>) -> Observed {
    let answer = Answer { verdict, reason: reason.to_owned(), probed_at: probed_at.map(str::to_owned) };
    Observed { enforcement: Some(answer), ..Observed::default() }
}

/// The status after a pass over `old` at this second.
fn after(
    old: &NetworkPolicySetStatus,
    mode: PolicyMode,
    observed: &Observed,
    second: i64,
) -> NetworkPolicySetStatus {
    status(old, Some(1), mode, observed, None, Timestamp::from_second(second).unwrap())
}

fn verified(status: &NetworkPolicySetStatus) -> Option<(&str, &str, &str)> {
    let condition = status.conditions.of_type(ConditionType::EnforcementVerified)?;
    Some((&condition.status, &condition.reason, &condition.message))
}

#[test]
fn each_verdict_has_its_condition() {
    use Enforcement::{NotEnforced, Unverified, Verified};

    let check = |verdict, mode, expected: (&str, &str, &str)| {
        let status = after(&NetworkPolicySetStatus::default(), mode, &answer(verdict, "why", None), 10);
        assert_eq!(verified(&status), Some(expected));
        assert_eq!(status.enforcement.unwrap().verdict, verdict);
    };
    check(Verified, PolicyMode::Enforce, ("True", "Verified", "why"));
    check(NotEnforced, PolicyMode::Enforce, ("False", "NotEnforced", "why"));
    check(Unverified, PolicyMode::Enforce, ("Unknown", "Unverified", "why"));
    // What was applied before stays, so this may be, too.
    check(Verified, PolicyMode::Audit, ("True", "Verified", "why"));
    check(NotEnforced, PolicyMode::Audit, ("False", "NotEnforced", "why; mode Audit applies no policy"));
}

#[test]
fn a_verdict_that_stays_changes_nothing_and_a_pass_that_did_not_ask_forgets_nothing() {
    let none = NetworkPolicySetStatus::default();
    let first = answer(Enforcement::Verified, "why", Some("2026-11-21T10:00:00.000Z"));
    let later = answer(Enforcement::Verified, "why", Some("2026-11-21T11:00:00.000Z"));
    let before = after(&none, PolicyMode::Enforce, &first, 10);
    assert_eq!(after(&before, PolicyMode::Enforce, &later, 20), before);
    assert_eq!(after(&before, PolicyMode::Enforce, &Observed::default(), 20), before);

    let lost = after(&before, PolicyMode::Enforce, &answer(Enforcement::Unverified, "silent", None), 30);
    assert_eq!(lost.enforcement.as_ref().unwrap().probed_at, None);
    let again = after(&lost, PolicyMode::Enforce, &later, 40);
    assert_eq!(again.enforcement.unwrap().probed_at.as_deref(), Some("2026-11-21T11:00:00.000Z"));
    let never = after(&none, PolicyMode::Enforce, &Observed::default(), 10);
    assert_eq!(never.enforcement.as_ref().unwrap().verdict, Enforcement::Unverified);
    assert_eq!(verified(&never), None);
}

fn set(status: NetworkPolicySetStatus, generation: i64) -> NetworkPolicySet {
    let mut set = NetworkPolicySet::new("main", NetworkPolicySetSpec::default());
    set.metadata.generation = Some(generation);
    set.status = Some(status);
    set
}

#[test]
fn an_archive_waits_for_its_network_policies_until_they_are_those_of_now() {
    let none = NetworkPolicySetStatus::default();
    assert_eq!(waits_for(&set(none.clone(), 1)).unwrap(), "network policies wait to be applied");
    let ready = after(&none, PolicyMode::Enforce, &Observed::default(), 10);
    assert_eq!(waits_for(&set(ready.clone(), 1)), None);
    assert!(waits_for(&set(ready, 2)).is_some());
    let halt = Halt::terminal(Reason::InvalidSpec, "no host");
    let now = Timestamp::from_second(10).unwrap();
    let stalled = status(&none, Some(1), PolicyMode::Enforce, &Observed::default(), Some(&halt), now);
    assert_eq!(waits_for(&set(stalled, 1)).unwrap(), "network policies: no host");
}

#[test]
fn a_set_that_gives_way_says_so_and_not_that_it_applied_something() {
    let halt = Halt::waiting(Reason::Progressing, "gives way to written", RESYNC_AFTER);
    let now = Timestamp::from_second(10).unwrap();
    let none = NetworkPolicySetStatus::default();
    let status = status(&none, Some(1), PolicyMode::Enforce, &Observed::default(), Some(&halt), now);
    let ready = status.conditions.of_type(ConditionType::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", "gives way to written"));
    assert!(!status.conditions.is_true(ConditionType::Stalled));
}

fn distributed(search: &Value) -> ArchiveCore {
    serde_json::from_value(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
        "metadata": {"name": "main", "namespace": "mail", "uid": "1"},
        "spec": {
            "domain": "archive.example.org", "tenants": [{"name": "acme"}], "profile": "Distributed",
            "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
            "database": {"adminSecretRef": {"name": "database"}},
            "objectStore": {
                "endpoint": "https://s3.storage.svc", "bucket": "mail", "keyBucket": "mail-keys", "secretRef": {"name": "s3"},
            },
            "search": {"elasticsearch": search},
        },
    }))
    .unwrap()
}

fn facts_of(search: &Value, set: &Value) -> Facts {
    let settings = Settings {
        namespace: None,
        operator_namespace: "openarchive-system".to_owned(),
        image_registry: String::new(),
    };
    let set: NetworkPolicySetSpec = serde_json::from_value(set.clone()).unwrap();
    let archive = validate(&distributed(search), &[]).unwrap();
    facts(&archive, &set, &[], Some("postgres://owner@db.databases.svc/mail"), &settings).unwrap()
}

#[test]
fn every_node_of_the_search_engine_is_let_through_and_dns_at_its_own_port() {
    let set = json!({"archiveRef": {"name": "main"}});
    let urls = json!(["https://es-0.search.svc:9200", "https://es-1.other.svc:9201", "https://192.0.2.7"]);
    let found = facts_of(&json!({"urls": urls}), &set);
    let shown: Vec<_> = found
        .search_engine
        .iter()
        .map(|node| match node {
            Destination::Pods { pods, port } => {
                format!("{}:{port}", pods.namespaces["kubernetes.io/metadata.name"])
            }
            Destination::Cidrs { ranges, port } => format!("{}:{port}", ranges[0]),
        })
        .collect();
    assert_eq!(shown, ["search:9200", "other:9201", "192.0.2.7/32:443"]);
    assert_eq!(found.dns.port, 53);
    let openshift = json!({"archiveRef": {"name": "main"}, "dns": {"port": 5353}});
    assert_eq!(facts_of(&json!({"urls": urls}), &openshift).dns.port, 5353);
}
