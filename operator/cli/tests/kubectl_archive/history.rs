//! `config history|diff|verify` and `status`, from ControllerRevisions and files.

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use openarchive_domain::Timestamp;
use openarchive_ledger::leaf::stamp;
use openarchive_operator_api::{ArchiveCore, crds};
use openarchive_operator_cluster::Cluster;
use openarchive_operator_snapshot::{Applied, ConfigLeaf, MacKey, Snapshot, Subject, revision};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::plugin::{complained, plugin, said};

/// One namespace with three configurations of ArchiveCore `mail`.
struct World {
    _cluster: Cluster,
    client: Client,
    kubeconfig: PathBuf,
    namespace: &'static str,
    snapshots: Vec<Snapshot>,
}

impl World {
    /// `None`: skipped, there is no API server.
    async fn start(namespace: &'static str) -> Option<Self> {
        let cluster = Cluster::shared().await.unwrap()?;
        let client = cluster.admin().await.unwrap();
        cluster.apply_crds(&crds()).await.unwrap();
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let kubeconfig = cluster.kubeconfig("auditor", Some("system:masters")).unwrap();
        let snapshots = snapshots(namespace);
        let world = Self { _cluster: cluster, client, kubeconfig, namespace, snapshots };
        for (ordinal, snapshot) in (1..).zip(&world.snapshots) {
            world.keep(&revision(snapshot, ordinal)).await;
        }
        Some(world)
    }

    fn api<K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    async fn keep(&self, revision: &ControllerRevision) {
        self.api::<ControllerRevision>().create(&PostParams::default(), revision).await.unwrap();
    }

    async fn lose(&self, ordinal: u32) {
        let name = revision(&self.snapshots[ordinal as usize - 1], ordinal).metadata.name.unwrap();
        self.api::<ControllerRevision>().delete(&name, &DeleteParams::default()).await.unwrap();
    }

    /// The archive itself, with the last snapshot in its status.
    async fn archive(&self) {
        let object: ArchiveCore = serde_json::from_value(json!({
            "apiVersion": "openarchive.dev/v1alpha1",
            "kind": "ArchiveCore",
            "metadata": {"name": "mail"},
            "spec": {
                "domain": "archive.example.org",
                "tenants": [{"name": "acme"}],
                "profile": "Standalone",
                "version": "0.1.0",
                "retention": {"default": "10y-received-forbidden"},
            },
        }))
        .unwrap();
        let api = self.api::<ArchiveCore>();
        api.create(&PostParams::default(), &object).await.unwrap();
        let sha256 = self.snapshots[2].digest().hex();
        let status = json!({"status": {
            "lastSnapshot": {"sha256": sha256, "ledgerIndex": 3, "recordedAt": "2026-01-02T03:04:05Z"},
            "services": [{"name": "all", "desired": 1, "ready": 0, "waitingFor": "its volume"}],
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Progressing", "message": "waits for \u{1b}[2Jall",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
        }});
        api.patch_status("mail", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    fn plugin(&self, args: &[&str]) -> (Option<i32>, String) {
        said(&plugin(&self.kubeconfig, &[&["--namespace", self.namespace], args].concat()))
    }

    fn findings(&self, args: &[&str]) -> (Option<i32>, Vec<String>) {
        let args = [&["--namespace", self.namespace, "config", "verify", "mail", "--json"], args].concat();
        let output = plugin(&self.kubeconfig, &args);
        let (status, text) = said(&output);
        assert!(!text.is_empty(), "{status:?} {}", complained(&output));
        let report: Value = serde_json::from_str(&text).unwrap();
        let codes =
            report["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned());
        let gone = report["lastSnapshotOfStatusGone"].as_str().map(|_| "last_gone".to_owned());
        (status, codes.chain(gone).collect())
    }

    /// The leaves that an export of these configurations has.
    fn leaves(&self, folder: &Path) -> String {
        let first = json!({"kind": "first"}).to_string().into_bytes();
        let configs = (1..).zip(&self.snapshots).map(|(second, snapshot)| {
            stamp(ConfigLeaf::of(snapshot).body(), Timestamp::from_millis(1_767_323_045_000 + second))
                .unwrap()
        });
        let lines: Vec<_> = std::iter::once(first).chain(configs).collect();
        let path = folder.join("leaves.jsonl");
        fs::write(&path, lines.join(&b'\n')).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn snapshots(namespace: &str) -> Vec<Snapshot> {
    let mac = MacKey::new("mail-snapshot-mac", 1, [7; 32]);
    let mut chain: Vec<Snapshot> = Vec::new();
    for generation in 1..=3 {
        let applied = Applied {
            subject: Subject::new("ArchiveCore", namespace, "mail").unwrap(),
            uid: "6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11".to_owned(),
            generation,
            operator_version: "0.1.0".to_owned(),
            client_declared_manager: "argocd".to_owned(),
            spec: json!({"version": format!("0.{generation}.0")}),
            objects: Vec::new(),
        };
        chain.push(Snapshot::take(applied, &mac, chain.last()).unwrap());
    }
    chain
}

#[tokio::test]
async fn a_whole_history_is_listed_compared_and_found_to_be_whole() {
    let Some(world) = World::start("plugin-whole").await else { return };
    world.archive().await;
    // Nothing runs there: the ledger cannot be read, and the history of the cluster is shown all the same.
    let (status, history) = world.plugin(&["config", "history", "mail"]);
    assert_eq!(status, Some(0));
    assert_eq!(history.lines().count(), 4, "{history}");
    assert!(
        history.contains(&world.snapshots[1].digest().hex()[..12]) && history.contains("argocd"),
        "{history}"
    );
    let (status, diff) = world.plugin(&["config", "diff", "mail", "1", "3", "--without-ledger"]);
    assert_eq!(status, Some(0));
    assert!(diff.contains("0.1.0") && diff.contains("0.3.0"), "{diff}");
    assert_eq!(world.plugin(&["config", "diff", "mail", "1", "4", "--without-ledger"]).0, Some(1));
    assert_eq!(
        world.plugin(&["config", "verify", "mail"]).0,
        Some(1),
        "what was not looked at is not called good"
    );
    assert_eq!(world.findings(&["--without-ledger"]), (Some(4), Vec::new()));
    for words in [&["mial"][..], &["mail", "--kind", "RetentionPolicy"]] {
        let words =
            [&["--namespace", world.namespace, "config", "verify", "--without-ledger"], words].concat();
        let output = plugin(&world.kubeconfig, &words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(complained(&output).contains("nothing is on record of"), "{}", complained(&output));
    }
    let folder = tempfile::tempdir().unwrap();
    let leaves = world.leaves(folder.path());
    assert_eq!(world.findings(&["--leaves", &leaves]), (Some(4), Vec::new()));
    assert_eq!(
        world.plugin(&["config", "verify", "mail", "--leaves", &leaves, "--policy", &leaves]).0,
        Some(1)
    );
    let (_, history) = world.plugin(&["config", "history", "mail", "--leaves", &leaves, "--json"]);
    let rows: Value = serde_json::from_str(&history).unwrap();
    assert_eq!((&rows[2]["ledgerIndex"], &rows[2]["standing"]), (&json!(3), &json!("recorded")));
}

#[tokio::test]
async fn a_configuration_that_was_deleted_is_missed() {
    let Some(world) = World::start("plugin-deleted").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let leaves = world.leaves(folder.path());
    world.lose(2).await;
    assert_eq!(world.findings(&["--without-ledger"]), (Some(3), vec!["pending_unlinked".to_owned()]));
    assert_eq!(world.findings(&["--leaves", &leaves]), (Some(3), vec!["revision_missing".to_owned()]));
}

#[tokio::test]
async fn a_last_configuration_that_was_deleted_is_missed_by_status() {
    let Some(world) = World::start("plugin-last").await else { return };
    world.archive().await;
    world.lose(3).await;
    assert_eq!(world.findings(&["--without-ledger"]), (Some(3), vec!["last_gone".to_owned()]));
}

#[tokio::test]
async fn a_configuration_that_was_replaced_is_found() {
    let Some(world) = World::start("plugin-replaced").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let leaves = world.leaves(folder.path());
    let mut forged = revision(&world.snapshots[1], 2);
    world.lose(2).await;
    let data = forged.data.as_mut().unwrap();
    data.0["spec"]["version"] = json!("6.6.6");
    world.keep(&forged).await;
    let (status, found) = world.findings(&["--leaves", &leaves]);
    assert_eq!((status, found), (Some(3), vec!["revision_replaced".to_owned()]));
    assert_eq!(world.findings(&["--without-ledger"]).0, Some(3));
}

#[tokio::test]
async fn status_shows_what_is_waited_for_and_lets_no_control_character_through() {
    let Some(world) = World::start("plugin-status").await else { return };
    world.archive().await;
    let (status, text) = world.plugin(&["status"]);
    assert_eq!(status, Some(0));
    assert!(text.contains("its volume") && text.contains("Progressing"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(world.plugin(&["status", "another"]).1.lines().count(), 1);
}

#[test]
fn what_is_no_export_is_refused_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("kubeconfig");
    let export = folder.path().join("export.tar");
    fs::write(&export, "no tar").unwrap();
    let (status, text) = said(&plugin(&nowhere, &["config", "verify", "--export", export.to_str().unwrap()]));
    assert_eq!(status, Some(3), "{text}");
    assert!(text.starts_with("failed"), "{text}");
    let missing = folder.path().join("none.tar");
    assert_eq!(
        said(&plugin(&nowhere, &["config", "verify", "--export", missing.to_str().unwrap()])).0,
        Some(1)
    );
}

#[test]
fn wrong_use_and_no_cluster_have_statuses_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("kubeconfig");
    assert_eq!(said(&plugin(&nowhere, &["config", "verify"])).0, Some(2));
    assert_eq!(said(&plugin(&nowhere, &["status"])).0, Some(1));
}
