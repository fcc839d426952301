use k8s_openapi::jiff::Timestamp;
use openarchive_operator_api::{
    ArchiveCore, ConditionType, Conditions, Enforcement, NetworkPolicySet, NetworkPolicySetSpec,
    NetworkPolicySetStatus, PolicyMode,
};
use openarchive_operator_netpol::{Destination, Facts, Fingerprint};
use serde_json::{Value, json};

use super::{
    ask::Answer,
    status::{DRIFT_SHOWN_SECONDS, Observed, status, waits_for},
};
use crate::{
    Halt, RESYNC_AFTER, Reason, Settings,
    apply::{Drift, End},
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

/// A pass over one policy, which `manager` changed and which was brought back.
fn corrected(manager: Option<&str>) -> Observed {
    let drift = |manager: &str| Drift {
        kind: "NetworkPolicy",
        name: "main-all".to_owned(),
        manager: manager.to_owned(),
        end: End::Corrected,
    };
    let policy = json!({"metadata": {"name": "main-all", "uid": "1"}});
    Observed {
        graph_hash: Some("00".to_owned()),
        fingerprints: vec![Fingerprint { name: "main-all".to_owned(), sha256: "00".to_owned(), rules: 1 }],
        live: vec![serde_json::from_value(policy).unwrap()],
        written: manager.map(|_| "main-all".to_owned()).into_iter().collect(),
        drifts: manager.map(drift).into_iter().collect(),
        ..Observed::default()
    }
}

#[test]
fn a_correction_is_shown_for_an_hour_and_writes_nothing_meanwhile() {
    let drifted = |status: &NetworkPolicySetStatus| {
        let condition = status.conditions.of_type(ConditionType::Drifted).unwrap();
        (condition.status.clone(), condition.reason.clone(), condition.last_transition_time.0.as_second())
    };
    let is = |status: &str, reason: &str, since: i64| (status.to_owned(), reason.to_owned(), since);
    let pass = |old: &NetworkPolicySetStatus, manager: Option<&str>, second: i64| {
        after(old, PolicyMode::Enforce, &corrected(manager), second)
    };
    let begun = pass(&NetworkPolicySetStatus::default(), None, 0);
    assert_eq!(drifted(&begun), is("False", "Reconciled", 0));
    let first = pass(&begun, Some("an-alien"), 10);
    assert_eq!(drifted(&first), is("True", "DriftCorrected", 10));
    assert_eq!(pass(&first, None, 11), first);

    let second = pass(&first, Some("another"), 1_000);
    assert_eq!(drifted(&second), is("True", "DriftCorrected", 10));
    let end = 1_000 + DRIFT_SHOWN_SECONDS;
    assert_eq!(pass(&second, None, end - 1), second);
    let over = pass(&second, None, end);
    assert_eq!(drifted(&over), is("False", "Reconciled", end));
    assert_eq!(over.policies, second.policies);
    assert_eq!(pass(&over, None, end + 1), over);
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
