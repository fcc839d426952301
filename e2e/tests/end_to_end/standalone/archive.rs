//! `openarchive all --config` as a pod runs it: another user than root, a read-only root file system, a volume that belongs
//! to the user's group, certificates from outside.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use openarchive_e2e::{Agent, AgentOptions, Ctl, Pki, eventually, free_port, http_get, program, skip};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// That every machine knows, and that owns nothing (`nobody`).
const USER: u32 = 65_534;
/// Longest start: making a database and its schema on a busy machine.
const START_SECONDS_MAX: u64 = 120;
pub(super) const DOMAIN: &str = "archive.test";

/// Makes a root file system of its own that nobody can write to, but for two volumes, and becomes the user. A bind of the root
/// and not the root itself: in a chroot that is no mount, and cannot be made read-only.
const CONFINE: &str = "mount --make-rprivate / 2>/dev/null; mkdir -p \"$3\" && mount --rbind / \"$3\" \
    && mount --bind \"$1\" \"$3$1\" && mount --bind \"$2\" \"$3$2\" && mount -o remount,bind,ro \"$3\" \
    && root=$3 user=$4 && shift 4 \
    && exec chroot \"$root\" setpriv --reuid \"$user\" --regid \"$user\" --clear-groups \"$@\"";

pub(super) struct Standalone {
    folder: tempfile::TempDir,
    pub(super) pki: Pki,
    pub(super) grpc: u16,
    pub(super) rest: u16,
    admin: u16,
    process: Option<Child>,
}

impl Standalone {
    pub(super) fn prepare(tenants: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("oa-pod-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (grpc, rest, admin) = (free_port(), free_port(), free_port());
        let pki = Pki::new(DOMAIN).unwrap();
        let archive = Self { folder, pki, grpc, rest, admin, process: None };
        for volume in ["data", "tmp"] {
            archive.volume(volume);
        }
        fs::create_dir(archive.path("tls")).unwrap();
        archive.issue();
        archive.pki.write_agents_ca(&archive.path("tls")).unwrap();
        for role in ["operator", "gateway", "storage"] {
            archive.pki.write_service(&archive.path("tls"), role).unwrap();
        }
        archive.lend("tls/agents.key");
        // Where the user may come: the target folder may lie in somebody's home.
        let openarchive = program("openarchive");
        if fs::hard_link(&openarchive, archive.path("openarchive")).is_err() {
            fs::copy(&openarchive, archive.path("openarchive")).unwrap();
        }
        archive.configure(tenants);
        archive
    }

    /// As the node gives a volume to a pod's group.
    fn volume(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2770)).unwrap();
        if geteuid().is_root() {
            chown(&path, Some(0), Some(USER)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o2770)).unwrap();
        }
    }

    /// As the node gives a Secret's file to a pod's group.
    fn lend(&self, name: &str) {
        if geteuid().is_root() {
            chown(self.path(name), Some(0), Some(USER)).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o440)).unwrap();
        }
    }

    /// Writes a new certificate with the names that the operator gives it.
    pub(super) fn issue(&self) {
        let names = ["localhost", "127.0.0.1", "acme-all", "acme-all.mail.svc"].map(str::to_owned);
        let uri = format!("spiffe://{DOMAIN}/service/all");
        let tls = self.path("tls");
        let _ = fs::remove_file(tls.join("all.key"));
        self.pki.write(&tls, "all", &names, &uri).unwrap();
        self.lend("tls/all.key");
    }

    pub(super) fn configure(&self, tenants: &[&str]) {
        let Self { grpc, rest, admin, .. } = self;
        let text = format!(
            "archive:
  domain: {DOMAIN}
  tenants: [{tenants}]
  retention: {{default: 10y-received-forbidden}}
listen: {{grpc: 127.0.0.1:{grpc}, rest: 127.0.0.1:{rest}, admin: 127.0.0.1:{admin}}}
tls: {{certificate: tls/all.pem, key: tls/all.key, ca: tls/ca.pem}}
dataDir: data
tmpDir: tmp
trust:
  agentsCa: {{certificate: tls/agents.pem, key: tls/agents.key}}
",
            tenants = tenants.join(", ")
        );
        fs::write(self.path("all.yaml"), text).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("all.log")).unwrap_or_default()
    }

    /// `openarchive` confined as a pod is; where this test may not do that, as it is.
    fn confined(&self) -> Command {
        if !geteuid().is_root() {
            skip("another user and a read-only root file system: only root can make them");
            return Command::new(self.path("openarchive"));
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "unchanged", "sh", "-c", CONFINE, "sh"]);
        command.arg(self.path("data")).arg(self.path("tmp")).arg(self.path("root")).arg(USER.to_string());
        command.arg(self.path("openarchive"));
        command
    }

    /// A command beside the archive or over its stopped data folder, as its user.
    pub(super) fn command(&self, arguments: &[&str]) -> Ctl {
        let mut command = Command::new(self.path("openarchive"));
        command.args(arguments).current_dir(self.folder.path());
        if geteuid().is_root() {
            command.uid(USER).gid(USER);
        }
        ctl(&command.stdin(Stdio::null()).output().unwrap())
    }

    fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("all.log")).unwrap();
        let mut command = self.confined();
        command.args(["all", "--config"]).arg(self.path("all.yaml")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    pub(super) fn start(&mut self) {
        self.spawn();
        eventually("every role is ready", START_SECONDS_MAX, || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            self.probe("/readyz").starts_with("HTTP/1.1 200").then_some(())
        });
    }

    /// Starts what must not start, and answers its exit code.
    pub(super) fn start_in_vain(&mut self) -> Option<i32> {
        self.spawn();
        self.ended()
    }

    pub(super) fn probe(&self, path: &str) -> String {
        http_get(self.admin, path).unwrap_or_default()
    }

    pub(super) fn ended(&mut self) -> Option<i32> {
        self.process.take().unwrap().wait().unwrap().code()
    }

    /// SIGTERM; answers the exit code.
    pub(super) fn terminate(&mut self) -> Option<i32> {
        signal(self.process.as_ref().unwrap().id(), Signal::TERM);
        self.ended()
    }

    /// Its PostgreSQL, by the number in the cluster's own file.
    pub(super) fn postgres(&self) -> Option<u32> {
        let file = fs::read_to_string(self.path("data/postgres/cluster/postmaster.pid")).ok()?;
        file.lines().next()?.parse().ok()
    }

    /// Its database, as the superuser: for what only a test does.
    pub(super) fn database_url(&self) -> String {
        let file = fs::read_to_string(self.path("data/postgres/cluster/postmaster.pid")).unwrap();
        let socket = file.lines().nth(4).unwrap().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    /// An agent that enrols with a one-time token.
    pub(super) fn agent(&self, name: &str, token: &str) -> Agent {
        let options = AgentOptions { name: name.to_owned(), ..AgentOptions::default() };
        let folder = self.path(&format!("agent-{}", name.replace('/', "-")));
        let core = format!("https://localhost:{}", self.grpc);
        let mut agent = Agent::before_enrolment_at(&folder, &self.pki.ca_pem(), &core, options).unwrap();
        fs::write(folder.join("token"), token).unwrap();
        let enrolled = agent.command(&["enrol", "--token-file", folder.join("token").to_str().unwrap()]);
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
        agent.start();
        agent
    }

    /// Number of mails that somebody with this token finds.
    pub(super) fn count(&self, token_file: &Path) -> Option<u64> {
        let mut command = Command::new(program("archivectl"));
        command.arg("--url").arg(format!("https://localhost:{}", self.rest));
        command.arg("--ca").arg(self.path("tls/ca.pem")).arg("--token-file").arg(token_file);
        command.args(["search", "*", "--limit", "1", "-o", "json"]);
        let answer = ctl(&command.stdin(Stdio::null()).output().unwrap());
        (answer.code == 0).then(|| answer.json()["total"].as_u64()).flatten()
    }
}

fn ctl(output: &Output) -> Ctl {
    Ctl {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(super) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            signal(process.id(), Signal::TERM);
            let _ = process.wait();
        }
    }
}
