//! `support-bundle`: tells what stands in the cluster, and nothing of Secrets, tokens and people.

use std::{collections::BTreeMap, fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{Event, Namespace, Secret},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use openarchive_operator_api::{ArchiveCore, RetentionPolicy, crds};
use openarchive_operator_cluster::Cluster;
use openarchive_operator_snapshot::{Applied, MacKey, Snapshot, Subject, revision};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::plugin::{complained, plugin, said};

/// What no bundle may hold, in whatever writing.
const MARKS: [&str; 8] = [
    "marksecret7f31",
    "bWFya3NlY3JldDdmMzE",
    "markmailbox7f31",
    "marktoken7f31",
    "markargument7f31",
    "markannotation7f31",
    "marklabel7f31",
    "markconfiguration7f31",
];

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::<K>::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap();
}

fn archive(name: &str) -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
        "metadata": {
            "name": name,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "markannotation7f31"},
            "labels": {"team": "marklabel7f31"},
        },
        "spec": {
            "domain": format!("{name}.example.org"), "tenants": [{"name": "acme"}], "profile": "Standalone",
            "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
        },
    })
}

/// The archive `main` with something secret or personal wherever a person may write it, and another beside it.
async fn marked(client: &Client, namespace: &str) {
    create::<ArchiveCore>(client, namespace, archive("main")).await;
    create::<ArchiveCore>(client, namespace, archive("other")).await;
    create::<RetentionPolicy>(client, namespace, json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "people"},
        "spec": {
            "archiveRef": {"name": "main"}, "keepFor": {"years": 3},
            "match": {"mailboxes": ["markmailbox7f31@example.org", "markmailbox7f31@example.com"]},
        },
    }))
    .await;
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "False", "reason": "LockedInCore",
        "message": "the archive keeps the policy of <markmailbox7f31@example.org>",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }]}});
    let policies: Api<RetentionPolicy> = Api::namespaced(client.clone(), namespace);
    policies.patch_status("people", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    create::<Secret>(
        client,
        namespace,
        json!({
            "metadata": {"name": "main-operator-tls", "labels": {"app.kubernetes.io/instance": "main"}},
            "stringData": {"tls.key": "marksecret7f31"},
        }),
    )
    .await;
    let labels = json!({
        "app.kubernetes.io/name": "openarchive", "app.kubernetes.io/instance": "main", "app.kubernetes.io/component": "all",
    });
    create::<StatefulSet>(
        client,
        namespace,
        json!({
            "metadata": {"name": "main-all", "labels": labels},
            "spec": {
                "replicas": 0, "serviceName": "main-all", "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
                    "name": "all", "image": "registry.test/openarchive:0.1.0",
                    "args": ["--password", "markargument7f31"],
                    "env": [{"name": "TOKEN", "value": "marktoken7f31"}],
                }]}},
            },
        }),
    )
    .await;
    create::<Event>(
        client,
        namespace,
        json!({
            "metadata": {"name": "main.1"}, "type": "Warning", "reason": "Refused",
            "message": "no mail for markmailbox7f31@example.org, tried 3 times",
            "involvedObject": {"kind": "ArchiveCore", "name": "main", "namespace": namespace},
        }),
    )
    .await;
    let snapshot = Snapshot::take(
        Applied {
            subject: Subject::new("ArchiveCore", namespace, "main").unwrap(),
            uid: "6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11".to_owned(),
            generation: 1,
            operator_version: "0.1.0".to_owned(),
            client_declared_manager: "argocd".to_owned(),
            spec: json!({"note": "markconfiguration7f31"}),
            objects: Vec::new(),
        },
        &MacKey::new("main-snapshot-mac", 1, [7; 32]),
        None,
    );
    let kept = revision(&snapshot.unwrap(), 1);
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    revisions.create(&PostParams::default(), &kept).await.unwrap();
}

fn unpack(bundle: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(File::open(bundle).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        (path.strip_prefix("openarchive-support/").unwrap().to_owned(), text)
    });
    entries.collect()
}

fn json_of(bundle: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&bundle[name]).unwrap()
}

#[tokio::test]
async fn a_bundle_tells_the_state_of_an_archive_and_no_secret_mailbox_or_token() {
    let Some(cluster) = Cluster::shared().await.unwrap() else { return };
    cluster.apply_crds(&crds()).await.unwrap();
    let client = cluster.admin().await.unwrap();
    let namespace = "bundled";
    let made: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &made).await.unwrap();
    marked(&client, namespace).await;
    let kubeconfig = cluster.kubeconfig("supporter", Some("system:masters")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle.tar");
    let args = ["--namespace", namespace, "support-bundle", "main", "-o", out.to_str().unwrap()];
    let output = plugin(&kubeconfig, &args);
    let (status, text) = said(&output);
    assert_eq!(status, Some(0), "{}", complained(&output));
    assert!(text.contains("Read it before you send it"), "{text}");
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let bundle = unpack(&out);
    let bytes = String::from_utf8_lossy(&std::fs::read(&out).unwrap()).into_owned();
    for mark in MARKS {
        assert!(!bytes.to_lowercase().contains(&mark.to_lowercase()), "the bundle holds {mark}");
    }
    assert!(bundle["README.txt"].contains("Everything could be read"), "{}", bundle["README.txt"]);
    for name in bundle.keys().filter(|name| name.as_str() != "README.txt") {
        assert!(bundle["README.txt"].contains(name.as_str()), "README.txt does not tell of {name}");
    }
    let archives = json_of(&bundle, "archivecores.json");
    assert_eq!(archives.as_array().unwrap().len(), 1, "the other archive is none of it");
    assert_eq!(archives[0]["spec"]["domain"], json!("main.example.org"));
    assert_eq!(
        archives[0]["metadata"]["annotations_set"],
        json!(["kubectl.kubernetes.io/last-applied-configuration"])
    );
    let policy = &json_of(&bundle, "retentionpolicies.json")[0];
    assert_eq!(policy["spec"]["match"]["mailboxes"], json!("(left out: addresses, 2)"));
    assert_eq!(
        policy["status"]["conditions"][0]["message"],
        json!("the archive keeps the policy of <(left out: an address)>")
    );
    let container = &json_of(&bundle, "statefulsets.json")[0]["pod"]["containers"][0];
    assert_eq!(container["image"], json!("registry.test/openarchive:0.1.0"));
    assert_eq!(container["variables_set"], json!(["TOKEN"]));
    let configuration = &json_of(&bundle, "configurations.json")[0];
    assert_eq!(configuration["number"], json!(1));
    assert_eq!(configuration["sha256"].as_str().unwrap().len(), 64);
    let events = json_of(&bundle, "events.json");
    let refused = events.as_array().unwrap().iter().find(|event| event["reason"] == "Refused").unwrap();
    assert_eq!(refused["note"], json!("no mail for (left out: an address), tried 3 times"));
    assert!(json_of(&bundle, "program.json")["kubernetes"].as_str().unwrap().starts_with("v1."));

    assert_eq!(plugin(&kubeconfig, &args).status.code(), Some(1), "a bundle is never written over");
    let unknown = plugin(
        &kubeconfig,
        &[
            "--namespace",
            namespace,
            "support-bundle",
            "none",
            "-o",
            folder.path().join("x.tar").to_str().unwrap(),
        ],
    );
    assert!(complained(&unknown).contains("there is: main, other"), "{}", complained(&unknown));
}

#[tokio::test]
async fn what_may_not_be_read_is_left_out_and_said_so() {
    let Some(cluster) = Cluster::shared().await.unwrap() else { return };
    cluster.apply_crds(&crds()).await.unwrap();
    let kubeconfig = cluster.kubeconfig("nobody", None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle.tar");
    let output =
        plugin(&kubeconfig, &["--namespace", "default", "support-bundle", "--out", out.to_str().unwrap()]);
    assert_eq!(said(&output).0, Some(0), "{}", complained(&output));
    assert!(complained(&output).contains("left out: cannot list archivecores"), "{}", complained(&output));
    let bundle = unpack(&out);
    assert!(bundle["README.txt"].contains("cannot list pods"), "{}", bundle["README.txt"]);
    assert_eq!(json_of(&bundle, "archivecores.json"), json!([]));
}
