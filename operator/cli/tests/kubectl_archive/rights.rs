//! The rights that docs/operator/kubectl-archive.md names for each command: they suffice, and each of them is needed.

use std::{fs, path::Path};

use openarchive_operator_api::NetworkPolicySet;
use serde_json::{Value, json};

use crate::{
    archive::Site,
    plugin::{complained, plugin},
};

fn rule(group: &str, resources: &[&str], verb: &str) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": [verb]})
}

/// `config verify`; export and policy need all of it but ControllerRevisions.
pub(crate) fn with_ledger() -> Value {
    json!([
        rule("openarchive.dev", &["archivecores"], "get"),
        rule("apps", &["controllerrevisions"], "list"),
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["main-operator-tls"], "verbs": ["get"]},
        rule("", &["services"], "get"),
        rule("", &["pods"], "list"),
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    ])
}

/// `config verify --without-ledger`.
pub(crate) fn without_ledger() -> Value {
    json!([rule("openarchive.dev", &["archivecores"], "get"), rule("apps", &["controllerrevisions"], "list")])
}

fn of_status() -> Value {
    let kinds = ["archivecores", "edgeagents", "retentionpolicies", "networkpolicysets"];
    kinds.map(|kind| rule("openarchive.dev", &[kind], "list")).to_vec().into()
}

fn of_explain() -> Value {
    json!([
        rule("openarchive.dev", &["archivecores"], "get"),
        rule("openarchive.dev", &["networkpolicysets"], "list"),
        rule("openarchive.dev", &["edgeagents"], "list"),
    ])
}

fn of_support_bundle() -> Value {
    let mut rules = of_status();
    let rules = rules.as_array_mut().unwrap();
    rules.push(rule("openarchive.dev", &["archivecores"], "get"));
    for (group, resource) in [
        ("apps", "statefulsets"),
        ("apps", "deployments"),
        ("apps", "controllerrevisions"),
        ("networking.k8s.io", "networkpolicies"),
        ("", "services"),
        ("", "pods"),
        ("", "events"),
    ] {
        rules.push(rule(group, &[resource], "list"));
    }
    json!(rules)
}

/// With all of `rules` it works, and with one of them less it does not.
pub(crate) async fn each_is_needed(site: &Site, name: &str, rules: &Value, works: impl Fn(&Path) -> bool) {
    let all = site.person(&format!("{name}-all"), rules).await;
    assert!(works(&all), "{name}: the rights do not suffice");
    for less in 0..rules.as_array().unwrap().len() {
        let mut fewer = rules.clone();
        let removed = fewer.as_array_mut().unwrap().remove(less);
        let person = site.person(&format!("{name}-{less}"), &fewer).await;
        assert!(!works(&person), "{name} works without {removed}");
    }
}

#[tokio::test]
async fn each_command_needs_the_rights_that_are_named_and_no_others() {
    let Some(site) = Site::start("rights").await else { return };
    site.configure(1).await;
    site.apply::<NetworkPolicySet>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "NetworkPolicySet", "metadata": {"name": "main"},
        "spec": {"archiveRef": {"name": "main"}},
    }))
    .await;
    let run = |kubeconfig: &Path, args: &[&str]| {
        plugin(kubeconfig, &[&["--namespace", site.namespace], args].concat())
    };
    each_is_needed(&site, "status", &of_status(), |kubeconfig| {
        run(kubeconfig, &["status"]).status.code() == Some(0)
    })
    .await;
    each_is_needed(&site, "explain", &of_explain(), |kubeconfig| {
        let asked = ["netpol", "explain", "operator", "all", "9443", "--archive", "main"];
        run(kubeconfig, &asked).status.code() == Some(0)
    })
    .await;
    each_is_needed(&site, "support", &of_support_bundle(), |kubeconfig| {
        let out = site.path("bundle.tar");
        let _ = fs::remove_file(&out);
        let args = ["support-bundle", "main", "--out", &out, "--operator-namespace", site.namespace];
        let output = run(kubeconfig, &args);
        output.status.code() == Some(0) && complained(&output).is_empty()
    })
    .await;
}
