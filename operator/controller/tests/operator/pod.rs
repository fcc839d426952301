//! The archive itself behind an operator: `openarchive all` as a process, with the certificates and the configuration that the
//! operator made.

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
use kube::api::ListParams;
use openarchive_e2e::{free_port, program};
use openarchive_operator_controller::core::{Core, DialOverrides, Dialler, read_config_log};
use openarchive_operator_snapshot::{Chain, Revisions, Subject, selector};
use serde_json::{Value, json};

use crate::support::{Site, standalone};

/// `openarchive all`, as the pod of the StatefulSet would run it.
pub(crate) struct Pod {
    folder: tempfile::TempDir,
    grpc: u16,
    process: Option<Child>,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("oa-pod-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, grpc: free_port(), process: None }
    }

    pub(crate) fn grpc(&self) -> u16 {
        self.grpc
    }

    /// What the cluster would mount.
    pub(crate) async fn mount(&self, site: &Site) {
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

    pub(crate) fn start(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("openarchive"));
        command.args(["all", "--config"]).arg(self.folder.path().join("openarchive.yaml"));
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    pub(crate) fn stop(&mut self) {
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

pub(crate) fn overrides(site: &Site, pod: &Pod) -> DialOverrides {
    format!("main-all.{}.svc:9443=127.0.0.1:{}", site.namespace, pod.grpc).parse().unwrap()
}

/// The operator's own way to the archive.
pub(crate) async fn core(site: &Site, pod: &Pod, folder: &Path) -> Core {
    let secret = site.api::<Secret>().get("main-operator-tls").await.unwrap();
    let credentials = secret.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
    let address = format!("main-all.{}.svc:9443", site.namespace);
    let dialler = Dialler::new(folder, overrides(site, pod)).unwrap();
    dialler.core("main", &credentials, [address.clone(), address.clone(), address]).unwrap()
}

pub(crate) fn with_tenants(tenants: usize) -> Value {
    let mut archive = standalone("main");
    let tenants: Vec<_> = (0..tenants).map(|number| json!({"name": format!("tenant-{number}")})).collect();
    archive["spec"]["tenants"] = json!(tenants);
    archive
}

pub(crate) async fn chain(site: &Site, core: &Core) -> Chain {
    let subject = Subject::new("ArchiveCore", &site.namespace, "main").unwrap();
    let kept =
        site.api::<ControllerRevision>().list(&ListParams::default().labels(&selector(&subject))).await;
    let (log, _) = read_config_log(core).await.unwrap();
    Chain::verify(&subject, &Revisions::read(&kept.unwrap().items), &log)
}
