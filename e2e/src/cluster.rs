use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use openarchive_testkit::database::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Ctl, archive::run, eventually, free_port, pki::Pki, program};

/// Longest start of one role.
const START_SECONDS_MAX: u64 = 60;
const DOMAIN: &str = "archive.test";

/// Roles in the order of need: each starts when those before it serve.
const ROLES: [(&str, usize); 6] =
    [("trust", 1), ("storage", 2), ("index", 1), ("ingest", 2), ("worker", 2), ("gateway", 2)];

/// The archive as separate services: every role a process over TCP with mTLS, two replicas where the role allows it,
/// a login role each in PostgreSQL, one folder as object store.
pub struct Cluster {
    folder: Option<tempfile::TempDir>,
    database: TestDatabase,
    pki: Pki,
    services: Vec<Service>,
    tenants: Vec<String>,
    environment: Vec<(String, String)>,
}

struct Service {
    role: &'static str,
    replica: usize,
    /// gRPC, or REST of the gateway.
    port: u16,
    admin: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Makes database, certificates and configuration, and starts every role.
    pub fn start(tenants: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(tenants, Vec::new())
    }

    /// [`Self::start`], with environment variables for every role.
    pub fn start_with(tenants: &[&str], environment: Vec<(String, String)>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("oa-cluster-").tempdir_in("/var/tmp")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut services = Vec::new();
        for (role, replicas) in ROLES {
            for replica in 0..replicas {
                services.push(Service {
                    role,
                    replica,
                    port: free_port(),
                    admin: free_port(),
                    process: None,
                });
            }
        }
        let tenants = tenants.iter().map(ToString::to_string).collect();
        let mut cluster = Self {
            folder: Some(folder),
            database: TestDatabase::start(),
            pki: Pki::new(DOMAIN)?,
            services,
            tenants,
            environment,
        };
        cluster.write_files()?;
        cluster.migrate();
        for index in 0..cluster.services.len() {
            cluster.start_service(index);
        }
        Ok(cluster)
    }

    pub fn root(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), tempfile::TempDir::path)
    }

    /// The archive's authority.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Runs archivectl against one gateway with a token of a tenant.
    pub fn ctl(&self, gateway: usize, token: &Path, arguments: &[&str]) -> Ctl {
        let url = self.gateway().get(gateway).cloned().unwrap_or_default();
        run(Command::new(program("archivectl"))
            .args(["--url", &url, "--ca"])
            .arg(self.root().join("tls/ca.pem"))
            .arg("--token-file")
            .arg(token)
            .args(arguments))
    }

    fn write_files(&self) -> anyhow::Result<()> {
        let root = self.root();
        let pki = &self.pki;
        let tls = root.join("tls");
        fs::create_dir(&tls)?;
        for (role, _) in ROLES {
            pki.write_service(&tls, role)?;
            let url = self.database.url_as(&format!("openarchive_{role}"));
            fs::write(root.join(format!("{role}.url")), url)?;
        }
        fs::write(tls.join("ca.key"), pki.ca_key_pem())?;
        fs::write(root.join("admin.url"), self.database.url())?;
        fs::write(root.join("migrate.yaml"), "database: {urlFile: admin.url}\n")?;
        for service in &self.services {
            fs::write(self.config(service), self.config_text(service))?;
        }
        Ok(())
    }

    fn config(&self, service: &Service) -> PathBuf {
        self.root().join(format!("{}-{}.yaml", service.role, service.replica))
    }

    fn config_text(&self, service: &Service) -> String {
        let Service { role, replica, port, admin, .. } = service;
        let mut calls = String::new();
        for (called, _) in ROLES.iter().filter(|(called, _)| *called != "gateway") {
            let targets: Vec<String> = self
                .services
                .iter()
                .filter(|other| other.role == *called)
                .map(|other| format!("\"localhost:{}\"", other.port))
                .collect();
            calls += &format!("  {called}: [{}]\n", targets.join(", "));
        }
        format!(
            "archive:
  domain: {DOMAIN}
  tenants: [{tenants}]
  retention: {{default: 10y-received-forbidden}}
listen: {{grpc: 127.0.0.1:{port}, rest: 127.0.0.1:{port}, admin: 127.0.0.1:{admin}}}
tls: {{certificate: tls/{role}.pem, key: tls/{role}.key, ca: tls/ca.pem}}
database: {{urlFile: {role}.url}}
objects: {{local: objects}}
dataDir: {role}-{replica}
calls:
{calls}trust:
  keys: keys
  agentsCa: {{certificate: tls/ca.pem, key: tls/ca.key}}
",
            tenants = self.tenants.join(", ")
        )
    }

    fn migrate(&self) {
        let migrated = self.openarchive(&["migrate", "--config", "migrate.yaml"]);
        assert_eq!(migrated.code, 0, "{} {}", migrated.stdout, migrated.stderr);
    }

    /// Runs `openarchive` in the cluster's folder.
    pub fn openarchive(&self, arguments: &[&str]) -> Ctl {
        run(Command::new(program("openarchive")).args(arguments).current_dir(self.root()))
    }

    fn start_service(&mut self, index: usize) {
        let service = &self.services[index];
        let log = self.log(index);
        let file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let mut command = Command::new(program("openarchive"));
        command.arg(service.role).arg("--config").arg(self.config(service)).stdin(Stdio::null());
        command.env("OPENARCHIVE_LOG_FORMAT", "json");
        command.envs(self.environment.iter().cloned());
        if let Ok(file) = file {
            command.stdout(file.try_clone().map_or_else(|_| Stdio::null(), Stdio::from)).stderr(file);
        }
        let (role, replica, admin) = (service.role, service.replica, service.admin);
        self.services[index].process = command.spawn().ok();
        eventually(&format!("{role} {replica} is ready"), START_SECONDS_MAX, || {
            let process = self.services[index].process.as_mut();
            let exited = process.is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!exited, "{role} {replica} does not start: see {}", log.display());
            let ready = http_get(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
            ready.then_some(())
        });
    }

    /// What a role has logged.
    pub fn log(&self, index: usize) -> PathBuf {
        let service = &self.services[index];
        self.root().join(format!("{}-{}.log", service.role, service.replica))
    }

    /// All services: (index, role, replica).
    pub fn services(&self) -> Vec<(usize, &'static str, usize)> {
        self.services.iter().enumerate().map(|(index, s)| (index, s.role, s.replica)).collect()
    }

    pub fn pid(&self, index: usize) -> u32 {
        self.services[index].process.as_ref().map_or(0, Child::id)
    }

    fn signal(&mut self, index: usize, signal: Signal) -> bool {
        if let Some(pid) = Pid::from_raw(self.pid(index).cast_signed()) {
            let _ = kill_process(pid, signal);
        }
        self.services[index].process.take().is_some_and(|mut p| p.wait().is_ok_and(|status| status.success()))
    }

    /// After [`Self::terminate`] or [`Self::kill`].
    pub fn start_again(&mut self, index: usize) {
        self.start_service(index);
    }

    /// SIGKILL: as if the power of this process had gone.
    pub fn kill(&mut self, index: usize) {
        self.signal(index, Signal::KILL);
    }

    /// SIGKILL, and started again.
    pub fn kill_and_restart(&mut self, index: usize) {
        self.kill(index);
        self.start_service(index);
    }

    /// SIGTERM; answers whether it ended well.
    pub fn terminate(&mut self, index: usize) -> bool {
        self.signal(index, Signal::TERM)
    }

    /// The database as its superuser sees it: for what only a test does.
    pub fn database_url(&self) -> String {
        self.database.url()
    }

    /// Text of `/metrics` of one service.
    pub fn metrics(&self, index: usize) -> String {
        http_get(self.services[index].admin, "/metrics").unwrap_or_default()
    }

    fn ports(&self, role: &str) -> Vec<u16> {
        self.services.iter().filter(|service| service.role == role).map(|service| service.port).collect()
    }

    /// `https://localhost:PORT` of each replica of ingest.
    pub fn ingest(&self) -> Vec<String> {
        self.ports("ingest").iter().map(|port| format!("https://localhost:{port}")).collect()
    }

    /// `https://localhost:PORT` of each gateway.
    pub fn gateway(&self) -> Vec<String> {
        self.ports("gateway").iter().map(|port| format!("https://localhost:{port}")).collect()
    }

    /// Verification key policy of the archive's logs, as an agent needs it.
    pub fn policy(&self, tenant: &str) -> String {
        let answer = self.openarchive(&["trust-policy", "--config", "trust-0.yaml", "--tenant", tenant]);
        assert_eq!(answer.code, 0, "{} {}", answer.stdout, answer.stderr);
        answer.stdout
    }

    /// An API token for `tenant`.
    pub fn token(&self, tenant: &str) -> String {
        let answer = self.openarchive(&["token", "issue", "--config", "migrate.yaml", tenant]);
        assert_eq!(answer.code, 0, "{} {}", answer.stdout, answer.stderr);
        answer.stdout.trim().to_owned()
    }
}

/// One plain HTTP/1.1 request; the whole answer as text.
pub fn http_get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in (0..self.services.len()).rev() {
            self.signal(index, Signal::KILL);
        }
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the failed test's cluster is kept in {}", folder.keep().display());
        }
    }
}
