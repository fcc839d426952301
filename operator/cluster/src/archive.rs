//! The archive itself behind an operator: `openarchive all` as a process, with the certificates and the configuration that the
//! operator made for its pod.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use openarchive_e2e::{free_port, program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Of what it wrote, when a test fails.
const LOG_LINES_SHOWN: usize = 30;

/// The archive `main` of a namespace, of profile Standalone. Ends when it is dropped.
pub struct ArchiveProcess {
    folder: TempDir,
    grpc: u16,
    process: Option<Child>,
}

impl ArchiveProcess {
    pub fn new() -> io::Result<Self> {
        // Its database wants a short path, and runs as a user of its own where the test is root.
        let folder = tempfile::Builder::new().prefix("oa-pod-").tempdir_in("/var/tmp")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, grpc: free_port(), process: None })
    }

    /// Where trust, storage and ingest answer.
    pub fn grpc(&self) -> u16 {
        self.grpc
    }

    /// The way to it from outside a cluster, as `OPENARCHIVE_DIAL_OVERRIDE` has it.
    pub fn dial_override(&self, namespace: &str) -> String {
        format!("main-all.{namespace}.svc:9443=127.0.0.1:{}", self.grpc)
    }

    /// Puts what the cluster would mount into its folder: for its next start, and for the reload of what it has open.
    pub async fn mount(&self, client: &Client, namespace: &str) -> anyhow::Result<()> {
        let root = self.folder.path();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        for (secret, folder) in [("main-all-tls", "tls"), ("main-agents-ca", "agents-ca")] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder)?;
            for (key, value) in secrets.get(secret).await?.data.unwrap_or_default() {
                put(&folder.join(key), &value.0)?;
            }
        }
        for folder in ["data", "tmp"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let config = configs.get("main-config").await?.data.unwrap_or_default();
        let text = config.get("openarchive.yaml").context("the configuration has no openarchive.yaml")?;
        fs::write(root.join("openarchive.yaml"), self.here(serde_json::from_str(text)?).to_string())?;
        Ok(())
    }

    /// The configuration with this folder and these ports in place of the pod's.
    fn here(&self, mut config: Value) -> Value {
        let root = self.folder.path();
        let moved = |path: &Value, from: &str, to: &str| {
            json!(path.as_str().unwrap_or_default().replace(from, &root.join(to).to_string_lossy()))
        };
        for key in ["certificate", "key", "ca"] {
            config["tls"][key] = moved(&config["tls"][key], "/etc/openarchive-tls", "tls");
        }
        for key in ["certificate", "key"] {
            let path = &config["trust"]["agentsCa"][key];
            config["trust"]["agentsCa"][key] = moved(path, "/etc/openarchive-agents-ca", "agents-ca");
        }
        config["dataDir"] = json!(root.join("data"));
        config["tmpDir"] = json!(root.join("tmp"));
        let at = |port: u16| json!(format!("127.0.0.1:{port}"));
        config["listen"] = json!({"grpc": at(self.grpc), "rest": at(free_port()), "admin": at(free_port())});
        config
    }

    pub fn start(&mut self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new(program("openarchive"));
        command.args(["all", "--config"]).arg(self.folder.path().join("openarchive.yaml"));
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// Returns when it has ended. What it holds stays for its next start.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

impl Drop for ArchiveProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default();
            eprintln!("the archive said:\n{}", last.join("\n"));
        }
        self.stop();
    }
}

/// For its owner's eyes, as keys must be.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o400))
}
