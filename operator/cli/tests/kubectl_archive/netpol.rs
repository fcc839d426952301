//! `netpol explain`, from files and from a cluster.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet, crds};
use openarchive_operator_cluster::Cluster;
use serde_json::{Value, json};

use crate::plugin::{complained, plugin, said};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(name)
}

/// Of files, without a cluster.
fn ask(file: &str, words: &[&str]) -> Output {
    let file = example(file);
    let args = [&["netpol", "explain"], words, &["-f", file.to_str().unwrap()]].concat();
    plugin(Path::new("/nonexistent"), &args)
}

#[track_caller]
fn check(file: &str, words: &[&str], status: i32, expected: &[&str]) {
    let output = ask(file, words);
    let (found, text) = said(&output);
    let text = text + &complained(&output);
    assert_eq!(found, Some(status), "{words:?}: {text}");
    for part in expected {
        assert!(text.contains(part), "{words:?}: {part:?} is not in {text}");
    }
}

#[test]
fn files_answer_whether_by_which_edge_and_which_rule() {
    check(
        "distributed.yaml",
        &["gateway", "trust", "9443"],
        0,
        &[
            "gateway -> trust, TCP 9443: allowed",
            "out of gateway: policy archive-gateway, rule egress-",
            "into trust: policy archive-trust, rule ingress-",
            "gateway -> trust: audit leaves and checkpoints",
        ],
    );
    check(
        "distributed.yaml",
        &["gateway", "10.50.0.9", "443"],
        0,
        &["The single sign-on is outside the cluster. (extra edge)"],
    );
    check(
        "distributed.yaml",
        &["worker", "trust", "9443"],
        5,
        &["refused", "out of worker: no rule of archive-default-deny, archive-worker allows it"],
    );
    check(
        "standalone.yaml",
        &["10.20.0.9", "agent/office", "2525"],
        0,
        &["mail-server -> agent: journaling"],
    );
    check("standalone.yaml", &["10.20.1.9", "agent/office", "2525"], 5, &["into agent/office: no rule of"]);
    check("standalone.yaml", &["monitoring", "all", "9090"], 0, &["monitoring -> "]);
}

#[test]
fn what_is_unknown_is_named_and_what_may_be_named_is_listed() {
    check(
        "standalone.yaml",
        &["agent/berlin", "all", "9443"],
        1,
        &["this archive has no agent/berlin", "agent/office", "any IP address"],
    );
    check("distributed.yaml", &["nobody", "trust", "9443"], 1, &["\"nobody\" is unknown", "search-engine"]);
    check("distributed.yaml", &["gateway", "trust", "http"], 2, &["write 9443, or 53/udp"]);
    check(
        "distributed.yaml",
        &["gateway", "trust", "9443", "--archive", "other"],
        1,
        &["there is no ArchiveCore other in these files; there is: archive"],
    );
    check("retention.yaml", &["gateway", "trust", "9443"], 1, &["there is no ArchiveCore in these files"]);
    let both = [example("standalone.yaml"), example("distributed.yaml")];
    let both = both.each_ref().map(|file| file.to_str().unwrap());
    let words = ["netpol", "explain", "gateway", "trust", "9443", "-f", both[0], both[1]];
    let output = plugin(Path::new("/nonexistent"), &words);
    assert_eq!(said(&output).0, Some(1));
    assert!(complained(&output).contains("archive (namespace \"mail\")"), "{}", complained(&output));
    let output = plugin(Path::new("/nonexistent"), &[&words[..], &["-n", "mail-distributed"]].concat());
    assert_eq!(said(&output).0, Some(0), "{}", complained(&output));
}

#[test]
fn programs_get_json() {
    let output = ask("distributed.yaml", &["worker", "trust", "9443", "-o", "json"]);
    let (status, text) = said(&output);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, Some(5));
    assert_eq!((&answer["allowed"], &answer["mode"]), (&json!(false), &json!("Enforce")));
    assert_eq!(answer["egress"]["verdict"], json!("denied"));
}

#[tokio::test]
async fn a_cluster_is_asked_for_what_is_specified_there() {
    let Some(cluster) = Cluster::shared().await.unwrap() else { return };
    cluster.apply_crds(&crds()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let namespace = "explained";
    let made: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &made).await.unwrap();
    let kubeconfig = cluster.kubeconfig("explainer", Some("system:masters")).unwrap();
    let ask = |words: &[&str]| {
        plugin(&kubeconfig, &[&["--namespace", namespace, "netpol", "explain"], words].concat())
    };
    let empty = ask(&["gateway", "trust", "9443"]);
    assert!(
        complained(&empty).contains("there is no ArchiveCore in namespace explained"),
        "{}",
        complained(&empty)
    );
    let archive: ArchiveCore = serde_json::from_value(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore", "metadata": {"name": "main"},
        "spec": {
            "domain": "explained.example.org", "tenants": [{"name": "acme"}], "profile": "Standalone",
            "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
        },
    }))
    .unwrap();
    Api::namespaced(admin.clone(), namespace).create(&PostParams::default(), &archive).await.unwrap();
    let words = ["gateway", "198.51.100.7", "443"];
    assert_eq!(said(&ask(&words)).0, Some(5));
    let set: NetworkPolicySet = serde_json::from_value(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "NetworkPolicySet", "metadata": {"name": "main"},
        "spec": {"archiveRef": {"name": "main"}, "mode": "Audit", "extraEdges": [{
            "from": {"component": "gateway"}, "to": {"cidr": "198.51.100.0/24"}, "port": 443, "reason": "single sign-on",
        }]},
    }))
    .unwrap();
    Api::namespaced(admin, namespace).create(&PostParams::default(), &set).await.unwrap();
    let output = ask(&words);
    let (status, text) = said(&output);
    assert_eq!(status, Some(0), "{}", complained(&output));
    assert!(text.contains("single sign-on (extra edge)"), "{text}");
    assert!(complained(&output).contains("mode Audit"), "{}", complained(&output));
    let unknown = ask(&[&words[..], &["--archive", "other"]].concat());
    assert_eq!(said(&unknown).0, Some(1));
    assert!(complained(&unknown).contains("there is: main"), "{}", complained(&unknown));
}
