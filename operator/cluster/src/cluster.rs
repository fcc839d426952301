use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use openarchive_e2e::{Ctl, http_get, skip};
use tokio::{sync::OnceCell, time};

use crate::{
    NodeStandIn,
    audit::Requests,
    certificates::{Authority, kubeconfig},
    folder::Folder,
    processes::Processes,
    programs::programs,
    servers::{self, AUDIT_LOG, Ports},
};

/// Longest start of one server on a busy machine.
const START_SECONDS_MAX: u64 = 120;
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for a CustomResourceDefinition to be served.
const ESTABLISHED_SECONDS_MAX: u64 = 60;
/// Lines of a server's log that a failed start shows.
const LOG_LINES_SHOWN: usize = 10;
/// The group that may do everything.
const MASTERS: &str = "system:masters";
/// The user of [`Cluster::kubectl`] and [`Cluster::admin`].
pub const ADMIN: &str = "admin";

/// A Kubernetes API with its controllers. The last handle stops the servers; a test that fails while it has one keeps the
/// data folder and says where.
#[derive(Clone)]
pub struct Cluster(Arc<Servers>);

/// In the order in which they go: the node before the servers, and the folder when nobody writes any more.
struct Servers {
    node: Option<NodeStandIn>,
    processes: Processes,
    folder: Folder,
    authority: Authority,
    ports: Ports,
    programs: PathBuf,
}

impl Cluster {
    /// Starts one, which takes some five seconds. `None`: the programs cannot be had; the reason was printed as SKIP (and
    /// where nothing may be skipped, the test has failed).
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let programs = match programs() {
            Ok(programs) => programs,
            Err(reason) => {
                skip(&reason);
                return Ok(None);
            }
        };
        let mut servers = Servers {
            node: None,
            processes: Processes::new()?,
            folder: Folder::create()?,
            authority: Authority::new()?,
            ports: Ports::choose(),
            programs,
        };
        if let Err(error) = servers.start().await {
            servers.folder.keep();
            return Err(error);
        }
        Ok(Some(Self(Arc::new(servers))))
    }

    /// The one cluster of this process, started by whoever asks first; it goes with the process. For tests that keep to
    /// namespaces of their own.
    pub async fn shared() -> anyhow::Result<Option<Self>> {
        static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await.cloned()
    }

    /// Stands for the scheduler and the kubelet.
    pub fn node(&self) -> anyhow::Result<&NodeStandIn> {
        self.0.node.as_ref().context("the cluster has not started")
    }

    /// A user with every right.
    pub async fn admin(&self) -> anyhow::Result<Client> {
        self.client(ADMIN, Some(MASTERS)).await
    }

    /// A client of any user: `system:serviceaccount:NAMESPACE:NAME` has the rights bound to that service account.
    pub async fn client(&self, user: &str, group: Option<&str>) -> anyhow::Result<Client> {
        Ok(Client::try_from(self.config(user, group).await?)?)
    }

    pub async fn config(&self, user: &str, group: Option<&str>) -> anyhow::Result<Config> {
        self.0.config(user, group).await
    }

    /// Writes a kubeconfig with a certificate for a user.
    pub fn kubeconfig(&self, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        // One user of two tests may be in a group here and in none there.
        let name = group.map_or_else(|| user.to_owned(), |group| format!("{user}-of-{group}"));
        self.write_kubeconfig(&name, &self.0.kubeconfig_text(user, group)?)
    }

    /// For a server that knows by itself who asks.
    pub(crate) fn kubeconfig_without_user(&self, server: &str) -> String {
        kubeconfig(server, &self.0.authority, None)
    }

    /// Writes it whole and for our eyes only: another test may read an older one at this moment.
    pub(crate) fn write_kubeconfig(&self, user: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder().join(format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
        file.write_all(text.as_bytes())?;
        file.persist(&path)?;
        Ok(path)
    }

    /// Runs kubectl as the admin, and blocks until it ends.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Ctl> {
        let output = Command::new(self.0.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig(ADMIN, Some(MASTERS))?)
            .args(arguments)
            // Where it keeps what it has discovered.
            .env("HOME", self.folder())
            .stdin(Stdio::null())
            .output()
            .context("cannot run kubectl")?;
        Ok(Ctl {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Applies definitions and waits until the API server serves all of them.
    pub async fn apply_crds(&self, definitions: &[CustomResourceDefinition]) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.admin().await?);
        for definition in definitions {
            let name = definition.name_any();
            api.patch(&name, &PatchParams::apply(ADMIN).force(), &Patch::Apply(definition)).await?;
        }
        for definition in definitions {
            let name = definition.name_any();
            let established = await_condition(api.clone(), &name, is_crd_established());
            time::timeout(Duration::from_secs(ESTABLISHED_SECONDS_MAX), established)
                .await
                .with_context(|| format!("{name} is not served after {ESTABLISHED_SECONDS_MAX} s"))??;
        }
        Ok(())
    }

    /// What the API server logs of every request.
    pub fn requests(&self) -> Requests {
        Requests::of(self.folder().join(AUDIT_LOG))
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.0.ports.api_url()
    }

    /// Logs and data; also a place for the test's own files.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.folder.keep();
        }
    }
}

impl Servers {
    async fn start(&mut self) -> anyhow::Result<()> {
        servers::write_files(self.folder.path(), &self.authority, &self.ports)?;
        self.launch("etcd", &servers::etcd(&self.ports))?;
        self.wait("etcd", async || {
            http_get(self.ports.etcd, "/health").is_some_and(|answer| answer.contains(r#""health":"true""#))
        })
        .await?;
        self.launch("kube-apiserver", &servers::apiserver(&self.ports))?;
        let mut config = self.config(ADMIN, Some(MASTERS)).await?;
        // Until it is ready it answers 429: our own loop asks again.
        config.default_retry = false;
        let admin = Client::try_from(config)?;
        self.wait("kube-apiserver", async || {
            let request = http::Request::get("/readyz").body(Vec::new());
            match request {
                Ok(request) => admin.request_text(request).await.is_ok(),
                Err(_) => false,
            }
        })
        .await?;
        self.launch("kube-controller-manager", &servers::controller_manager())?;
        // No pod is admitted before its service account is there.
        let accounts: Api<ServiceAccount> = Api::namespaced(admin, "default");
        self.wait("kube-controller-manager", async || accounts.get("default").await.is_ok()).await?;
        let node = self.config(NodeStandIn::USER, Some(MASTERS)).await?;
        self.node = Some(NodeStandIn::start(node).await?);
        Ok(())
    }

    fn launch(&self, name: &'static str, arguments: &[String]) -> anyhow::Result<()> {
        let program = self.programs.join(name);
        self.processes
            .start(name, &program, arguments, self.folder.path())
            .with_context(|| format!("cannot start {} (by setpriv of util-linux)", program.display()))
    }

    async fn wait(&self, name: &str, ready: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while !ready().await {
            if let Some(ended) = self.processes.first_ended() {
                bail!("{ended} has ended: {}", self.last_lines(ended));
            }
            if Instant::now() > deadline {
                bail!("{name} is not ready after {START_SECONDS_MAX} s: {}", self.last_lines(name));
            }
            time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    fn last_lines(&self, name: &str) -> String {
        let log = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
    }

    fn kubeconfig_text(&self, user: &str, group: Option<&str>) -> anyhow::Result<String> {
        let identity = self.authority.client(user, group)?;
        Ok(kubeconfig(&self.ports.api_url(), &self.authority, Some(&identity)))
    }

    async fn config(&self, user: &str, group: Option<&str>) -> anyhow::Result<Config> {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig_text(user, group)?)?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }
}
