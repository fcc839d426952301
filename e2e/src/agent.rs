use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use openarchive_testkit::ports::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    Archive, Cluster, Ctl,
    archive::{assert_no_panic, run},
    eventually, http_get, program,
};

/// How the agent's one listener reads envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerMode {
    Plain,
    JrnPlus,
    XEnvelopeTo,
    ExchangeReport,
}

/// What differs between agents in tests.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// TENANT/NAME.
    pub name: String,
    pub mode: PeerMode,
    /// As in the configuration file: `smtp` or `lmtp`.
    pub protocol: &'static str,
    /// As in the configuration file: `150MiB`.
    pub message_size: &'static str,
    /// As in the configuration file: `8GiB`.
    pub high_water: String,
    /// Port of the listener; 0: chosen at the first start and kept.
    pub port: u16,
    /// Environment variables of the process.
    pub environment: Vec<(String, String)>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            name: "default/mx1".into(),
            mode: PeerMode::Plain,
            protocol: "smtp",
            message_size: "150MiB",
            high_water: "8GiB".into(),
            port: 0,
            environment: Vec::new(),
        }
    }
}

/// `openarchive-edge run` as a process of its own, beside an [`Archive`].
pub struct Agent {
    pub options: AgentOptions,
    folder: PathBuf,
    /// Port of health and metrics.
    admin: u16,
    process: Option<Child>,
}

impl Agent {
    /// Adds an agent to the archive, without starting it.
    pub fn add(archive: &Archive, options: AgentOptions) -> Self {
        let agent = Self::beside(archive, options);
        let added = run(Command::new(program("openarchive"))
            .args(["agent", "add", &agent.options.name, "--data"])
            .arg(archive.data())
            .arg("--out")
            .arg(agent.identity()));
        assert_eq!(added.code, 0, "{} {}", added.stdout, added.stderr);
        agent
    }

    /// An agent that knows the archive's authority and nothing else: it must enrol before it can start. The name in
    /// its options names its folder only.
    pub fn before_enrolment(archive: &Archive, options: AgentOptions) -> Self {
        let agent = Self::beside(archive, options);
        let made = fs::create_dir(agent.identity());
        let written = made.and_then(|()| fs::write(agent.identity().join("ca.pem"), archive.authority()));
        assert!(written.is_ok(), "cannot write the authority: {written:?}");
        agent
    }

    /// The same in a folder of its own, for an archive whose ingest is at `core` (`https://HOST:PORT`).
    pub fn before_enrolment_at(
        folder: &Path,
        authority: &str,
        core: &str,
        options: AgentOptions,
    ) -> anyhow::Result<Self> {
        let mut agent = Self { options, folder: folder.to_owned(), admin: free_port(), process: None };
        if agent.options.port == 0 {
            agent.options.port = free_port();
        }
        fs::create_dir_all(agent.identity())?;
        fs::write(agent.identity().join("ca.pem"), authority)?;
        agent.write_config(core);
        Ok(agent)
    }

    /// A configured agent without any identity.
    fn beside(archive: &Archive, options: AgentOptions) -> Self {
        let folder = archive.scratch(&format!("agent-{}", options.name.replace('/', "-")));
        let _ = fs::create_dir_all(&folder);
        let mut agent = Self { options, folder, admin: free_port(), process: None };
        if agent.options.port == 0 {
            agent.options.port = free_port();
        }
        agent.configure(archive);
        agent
    }

    /// Adds and starts.
    pub fn start_new(archive: &Archive, options: AgentOptions) -> Self {
        let mut agent = Self::add(archive, options);
        agent.start();
        agent
    }

    /// An agent of an archive of separate services, without starting it. It knows one replica of ingest.
    pub fn in_cluster(cluster: &Cluster, replica: usize, options: AgentOptions) -> anyhow::Result<Self> {
        let folder = cluster.root().join(format!("agent-{}", options.name.replace('/', "-")));
        let identity = folder.join("identity");
        fs::create_dir_all(&identity)?;
        let (tenant, name) = options.name.split_once('/').context("an agent is TENANT/NAME")?;
        cluster.pki().write_agent(&identity, tenant, name)?;
        fs::write(identity.join("log.policy"), cluster.policy(tenant))?;
        let mut agent = Self { options, folder, admin: free_port(), process: None };
        if agent.options.port == 0 {
            agent.options.port = free_port();
        }
        let ingest = cluster.ingest();
        agent.write_config(ingest.get(replica).context("there is no such replica")?);
        Ok(agent)
    }

    /// Writes the configuration anew: the core's port may have changed with its restart.
    pub fn configure(&self, archive: &Archive) {
        self.write_config(&archive.ingest());
    }

    fn write_config(&self, core: &str) {
        let mode = match self.options.mode {
            PeerMode::Plain => "plain",
            PeerMode::JrnPlus => "jrn-plus",
            PeerMode::XEnvelopeTo => "x-envelope-to",
            PeerMode::ExchangeReport => "exchange-report",
        };
        let text = format!(
            "dataDir: buffer\nhostname: localhost\nadmin: 127.0.0.1:{admin}\ncore:\n  address: {core}\n  ca: identity/ca.pem\n  certificate: identity/agent.pem\n  key: identity/agent.key\n  logPolicy: identity/log.policy\nlisteners:\n  - name: journal\n    address: 127.0.0.1\n    port: {port}\n    protocol: {protocol}\n    startTLS: {{required: false}}\n    peers:\n      - cidrs: [127.0.0.0/8]\n        journalMode: {mode}\nbuffer:\n  highWater: {high_water}\nlimits:\n  messageSize: {message_size}\n",
            port = self.options.port,
            admin = self.admin,
            protocol = self.options.protocol,
            message_size = self.options.message_size,
            high_water = self.options.high_water,
        );
        assert!(fs::write(self.config(), text).is_ok(), "cannot write the agent's configuration");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.yaml")
    }

    /// Folder of certificate, key, authority and log policy.
    pub fn identity(&self) -> PathBuf {
        self.folder.join("identity")
    }

    /// Text of `/metrics`.
    pub fn metrics(&self) -> String {
        http_get(self.admin, "/metrics").unwrap_or_default()
    }

    /// What it has logged.
    pub fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    pub fn smtp(&self) -> String {
        format!("127.0.0.1:{}", self.options.port)
    }

    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("agent.log"));
        let mut command = Command::new(program("openarchive-edge"));
        command.args(["run", "--config"]).arg(self.config()).stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(self.options.environment.iter().cloned());
        if let Ok(log) = log {
            command.stderr(log);
        }
        self.process = command.spawn().ok();
        eventually("the agent listens", 30, || std::net::TcpStream::connect(self.smtp()).ok());
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process(pid, signal);
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
        assert_no_panic(&self.folder.join("agent.log"));
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Runs an `openarchive-edge` command with this agent's configuration.
    pub fn command(&self, arguments: &[&str]) -> Ctl {
        run(Command::new(program("openarchive-edge")).args(arguments).arg("--config").arg(self.config()))
    }

    pub fn status(&self) -> Value {
        self.command(&["status", "-o", "json"]).json()
    }

    /// Waits until nothing is left in the buffer: everything was proven and pruned.
    pub fn wait_drained(&self, seconds: u64) {
        eventually("the agent's buffer is empty", seconds, || {
            (self.status().get("bufferedMessages")?.as_u64()? == 0).then_some(())
        });
    }
}

/// Lines of an agent's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default();
            eprintln!(
                "agent {}: {}\n{}",
                self.options.name,
                self.command(&["status"]).stdout,
                last.join("\n")
            );
        }
        self.kill();
    }
}
