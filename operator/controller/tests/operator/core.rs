//! The operator and a real archive: `openarchive all` as a process, with the certificates and the configuration that the operator
//! made. Configurations are recorded in its ledger, retention policies acknowledged.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use openarchive_e2e::{free_port, program};
use openarchive_operator_api::{ArchiveCore, RetentionPolicy};
use openarchive_operator_controller::core::{Core, DialOverrides, Dialler, read_config_log};
use openarchive_operator_snapshot::{Chain, Revisions, Subject, selector};
use serde_json::{Value, json};

use crate::support::{Site, condition, has, site, standalone};

/// `openarchive all`, as the pod of the StatefulSet would run it.
struct Pod {
    folder: tempfile::TempDir,
    grpc: u16,
    process: Option<Child>,
}

impl Pod {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("oa-pod-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, grpc: free_port(), process: None }
    }

    /// What the cluster would mount.
    async fn mount(&self, site: &Site) {
        let root = self.folder.path();
        for (secret, folder) in [("main-all-tls", "tls"), ("main-agents-ca", "agents-ca")] {
            let secret = site.api::<Secret>().get(secret).await.unwrap();
            fs::create_dir_all(root.join(folder)).unwrap();
            for (key, value) in secret.data.unwrap() {
                let path = root.join(folder).join(key);
                let _ = fs::remove_file(&path);
                fs::write(&path, value.0).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
            }
        }
        for folder in ["data", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let config = site.api::<ConfigMap>().get("main-config").await.unwrap().data.unwrap();
        let mut config: Value = serde_json::from_str(&config["openarchive.yaml"]).unwrap();
        let here = |path: &Value, from: &str, to: &str| {
            json!(path.as_str().unwrap().replace(from, root.join(to).to_str().unwrap()))
        };
        for key in ["certificate", "key", "ca"] {
            config["tls"][key] = here(&config["tls"][key], "/etc/openarchive-tls", "tls");
        }
        for key in ["certificate", "key"] {
            let path = &config["trust"]["agentsCa"][key];
            config["trust"]["agentsCa"][key] = here(path, "/etc/openarchive-agents-ca", "agents-ca");
        }
        config["dataDir"] = json!(root.join("data"));
        config["tmpDir"] = json!(root.join("tmp"));
        let at = |port: u16| json!(format!("127.0.0.1:{port}"));
        config["listen"] = json!({"grpc": at(self.grpc), "rest": at(free_port()), "admin": at(free_port())});
        fs::write(root.join("openarchive.yaml"), config.to_string()).unwrap();
    }

    fn start(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("openarchive"));
        command.args(["all", "--config"]).arg(self.folder.path().join("openarchive.yaml"));
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("the archive said:\n{}", log.lines().rev().take(30).collect::<Vec<_>>().join("\n"));
        }
        self.stop();
    }
}

fn overrides(site: &Site, pod: &Pod) -> DialOverrides {
    format!("main-all.{}.svc:9443=127.0.0.1:{}", site.namespace, pod.grpc).parse().unwrap()
}

/// The operator's own way to the archive.
async fn core(site: &Site, pod: &Pod, folder: &Path) -> Core {
    let secret = site.api::<Secret>().get("main-operator-tls").await.unwrap();
    let credentials = secret.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
    let address = format!("main-all.{}.svc:9443", site.namespace);
    let dialler = Dialler::new(folder, overrides(site, pod)).unwrap();
    dialler.core("main", &credentials, [address.clone(), address.clone(), address]).unwrap()
}

fn with_tenants(tenants: usize) -> Value {
    let mut archive = standalone("main");
    let tenants: Vec<_> = (0..tenants).map(|number| json!({"name": format!("tenant-{number}")})).collect();
    archive["spec"]["tenants"] = json!(tenants);
    archive
}

async fn chain(site: &Site, core: &Core) -> Chain {
    let subject = Subject::new("ArchiveCore", &site.namespace, "main").unwrap();
    let kept =
        site.api::<ControllerRevision>().list(&ListParams::default().labels(&selector(&subject))).await;
    let (log, _) = read_config_log(core).await.unwrap();
    Chain::verify(&subject, &Revisions::read(&kept.unwrap().items), &log)
}

#[tokio::test]
async fn every_applied_configuration_is_a_leaf_of_the_archive_in_order() {
    let Some(mut site) = site("recorded").await else { return };
    let mut pod = Pod::new();
    let client = site.operator_client().await;
    let dialled = overrides(&site, &pod);
    site.start(client, dialled).await;

    // Before the archive runs: kept, and waits.
    site.apply::<ArchiveCore>(with_tenants(1)).await;
    site.until::<ArchiveCore>("main", "keeps its configuration", has("AuditRecorded", "False")).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    // Each change, awaited; the archive is away for some of them.
    for tenants in 2..=5 {
        site.apply::<ArchiveCore>(with_tenants(tenants)).await;
        site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    }
    pod.stop();
    for tenants in 6..=8 {
        site.apply::<ArchiveCore>(with_tenants(tenants)).await;
        site.until::<ArchiveCore>("main", "waits", has("AuditRecorded", "False")).await;
    }
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    let folder = tempfile::tempdir().unwrap();
    let core = core(&site, &pod, folder.path()).await;
    let whole = chain(&site, &core).await;
    assert!(whole.findings.is_empty(), "{:?}", whole.findings);
    assert!(whole.pending.is_empty());
    let generations: Vec<_> =
        whole.recorded.iter().map(|link| link.snapshot.as_ref().unwrap().generation()).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5, 6, 7, 8]);
    let status = site.api::<ArchiveCore>().get("main").await.unwrap().status.unwrap();
    let last = status.last_snapshot.unwrap();
    assert_eq!(last.sha256, whole.recorded.last().unwrap().snapshot.as_ref().unwrap().digest().hex());

    // What is deleted, or deleted and made again with other data, is found.
    let kept = site.api::<ControllerRevision>();
    let mut revisions = kept.list(&ListParams::default()).await.unwrap().items;
    revisions.retain(|revision| revision.name_any().starts_with("main-config-"));
    revisions.sort_by_key(|revision| revision.revision);
    kept.delete(&revisions[2].name_any(), &DeleteParams::default()).await.unwrap();
    assert_eq!(chain(&site, &core).await.findings.len(), 1);
    let mut other = revisions[4].clone();
    kept.delete(&other.name_any(), &DeleteParams::default()).await.unwrap();
    other.metadata.resource_version = None;
    other.metadata.uid = None;
    other.data.as_mut().unwrap().0["spec"]["version"] = json!("6.6.6");
    kept.create(&kube::api::PostParams::default(), &other).await.unwrap();
    let findings = chain(&site, &core).await.findings;
    assert!(findings.len() >= 2, "{findings:?}");

    // The newest one deleted: what comes next follows what the ledger says.
    let newest = revisions.last().unwrap().name_any();
    kept.delete(&newest, &DeleteParams::default()).await.unwrap();
    site.apply::<ArchiveCore>(with_tenants(9)).await;
    site.until::<ArchiveCore>("main", "records the next one", |archive: Option<&ArchiveCore>| {
        let generation = archive.and_then(|archive| archive.metadata.generation);
        let recorded = archive.and_then(|archive| archive.status.as_ref()?.last_snapshot.as_ref());
        generation == Some(9) && recorded.is_some_and(|now| now.ledger_index > last.ledger_index)
    })
    .await;
    assert_eq!(chain(&site, &core).await.recorded.last().unwrap().ordinal, 9);
}

#[tokio::test]
async fn a_retention_policy_is_acknowledged_and_what_is_locked_stays_in_the_archive() {
    let Some(mut site) = site("policies").await else { return };
    let mut pod = Pod::new();
    let client = site.operator_client().await;
    let dialled = overrides(&site, &pod);
    site.start(client, dialled).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(&site).await;
    pod.start();

    let policy = |years: u32| {
        json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "books"},
            "spec": {"archiveRef": {"name": "main"}, "keepFor": {"years": years}, "startFrom": "YearEnd", "locked": true},
        })
    };
    site.apply::<RetentionPolicy>(policy(10)).await;
    let acknowledged = |generation: i64| {
        move |policy: Option<&RetentionPolicy>| {
            policy.and_then(|policy| policy.status.as_ref()).is_some_and(|status| {
                status.acknowledged_generation == Some(generation)
                    && status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
            })
        }
    };
    site.until::<RetentionPolicy>("books", "is acknowledged", acknowledged(1)).await;
    let status = site.api::<RetentionPolicy>().get("books").await.unwrap().status.unwrap();
    assert_eq!(status.class_name.as_deref(), Some("10y-yearend-forbidden"));
    site.apply::<RetentionPolicy>(policy(11)).await;
    site.until::<RetentionPolicy>("books", "is acknowledged again", acknowledged(2)).await;

    // The API server forgets a deleted object; the archive does not.
    site.api::<RetentionPolicy>().delete("books", &DeleteParams::default()).await.unwrap();
    site.apply::<RetentionPolicy>(policy(1)).await;
    site.until::<RetentionPolicy>(
        "books",
        "is refused by the archive",
        |policy: Option<&RetentionPolicy>| {
            policy.and_then(|policy| policy.status.as_ref()).is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|one| one.type_ == "Stalled" && one.status == "True" && one.reason == "LockedInCore")
            })
        },
    )
    .await;
    let status = site.api::<RetentionPolicy>().get("books").await.unwrap().status.unwrap();
    assert_eq!(status.class_name.as_deref(), Some("11y-yearend-forbidden"), "what stands is told");
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert_eq!(condition(&archive, "Ready").unwrap().0, "True", "one policy does not stop the archive");
}
