use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{eventually, free_port, http_get, program};

/// Longest start: making a database and its schema on a busy machine.
const START_SECONDS_MAX: u64 = 120;

/// An archive in a data folder of its own. A failed test keeps the folder and says where.
pub struct Archive {
    folder: Option<tempfile::TempDir>,
    role: &'static str,
    /// Port of ingest; 0: another one at each start.
    ingest: u16,
    process: Option<Child>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ctl {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ctl {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            let Self { code, stdout, stderr } = self;
            assert_eq!(0, 1, "not JSON ({error}), exit {code}: {stdout}\n{stderr}");
            Value::Null
        })
    }
}

impl Archive {
    /// `openarchive dev`: with an SMTP agent inside.
    pub fn dev() -> Self {
        Self::begin("dev", 0)
    }

    /// `openarchive all`: agents are processes of their own.
    pub fn all() -> Self {
        Self::begin("all", 0)
    }

    /// As [`Self::all`]; its ingest is at the same address after each start.
    pub fn all_at_one_address() -> Self {
        Self::begin("all", free_port())
    }

    fn begin(role: &'static str, ingest: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("oa-e2e-").tempdir_in("/var/tmp").ok();
        let mut archive = Self { folder, role, ingest, process: None };
        // The database's own user must pass.
        let _ = fs::set_permissions(archive.root(), fs::Permissions::from_mode(0o755));
        archive.start();
        archive
    }

    fn root(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), tempfile::TempDir::path)
    }

    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// A place for the test's own files, kept with the archive.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Starts the process over the data folder and waits until it serves.
    pub fn start(&mut self) {
        let _ = fs::remove_file(self.data().join("endpoints.json"));
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log());
        let mut command = Command::new(program("openarchive"));
        command.arg(self.role).arg("--data").arg(self.data());
        command.arg("--ingest").arg(format!("127.0.0.1:{}", self.ingest));
        command.args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        if self.role == "dev" {
            command.args(["--smtp", "127.0.0.1:0"]);
        } else {
            // What `dev` has by itself: tests wait for receipts and proofs.
            command.args(["--checkpoint-seconds", "1"]);
        }
        if let Ok(log) = log {
            command.stdout(log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from)).stderr(log);
        }
        self.process = command.stdin(Stdio::null()).spawn().ok();
        let endpoints = self.data().join("endpoints.json");
        eventually("the archive serves", START_SECONDS_MAX, || {
            let exited = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!exited, "the archive does not start: see {}", self.log().display());
            endpoints.is_file().then_some(())
        });
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL: as if the power of this process had gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// SIGTERM; answers whether it ended well.
    pub fn terminate(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the process has ended without being told to; answers its exit code.
    pub fn wait_ended(&mut self, seconds: u64) -> Option<i32> {
        let status = eventually("the archive ends by itself", seconds, || {
            self.process.as_mut().and_then(|process| process.try_wait().ok().flatten())
        });
        self.process = None;
        assert_no_panic(&self.log());
        status.code()
    }

    /// What it has logged.
    pub fn log(&self) -> PathBuf {
        self.root().join("archive.log")
    }

    fn wait(&mut self) -> bool {
        let ended = self.process.take().is_some_and(|mut p| p.wait().is_ok_and(|status| status.success()));
        assert_no_panic(&self.log());
        ended
    }

    fn endpoint(&self, name: &str) -> String {
        let text = fs::read_to_string(self.data().join("endpoints.json")).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// `127.0.0.1:PORT` of the agent inside `dev`.
    pub fn smtp(&self) -> String {
        self.endpoint("smtp")
    }

    /// `https://localhost:PORT` for agents.
    pub fn ingest(&self) -> String {
        self.endpoint("ingest")
    }

    pub fn gateway(&self) -> String {
        self.endpoint("gateway")
    }

    /// What a path of the probes' port answers.
    pub fn probe(&self, path: &str) -> String {
        let port = self.endpoint("admin").rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.and_then(|port| http_get(port, path)).unwrap_or_default()
    }

    /// PEM of the archive's own authority.
    pub fn authority(&self) -> String {
        fs::read_to_string(self.data().join("tls/ca.pem")).unwrap_or_default()
    }

    /// Runs archivectl against this archive.
    pub fn ctl(&self, arguments: &[&str]) -> Ctl {
        run(Command::new(program("archivectl")).arg("--data").arg(self.data()).args(arguments))
    }

    /// Runs `openarchive COMMAND --data DIR`; the archive must be stopped for most of them.
    pub fn offline(&self, command: &str, arguments: &[&str]) -> Ctl {
        run(Command::new(program("openarchive")).arg(command).arg("--data").arg(self.data()).args(arguments))
    }

    /// Exact number of hits.
    pub fn count(&self, query: &str) -> u64 {
        let answer = self.ctl(&["search", query, "--limit", "1", "-o", "json"]);
        if answer.code != 0 {
            return 0;
        }
        answer.json().get("total").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Waits until exactly `count` mails are searchable.
    pub fn wait_searchable(&self, count: u64, seconds: u64) {
        eventually(&format!("{count} mails are searchable"), seconds, || {
            (self.count("*") == count).then_some(())
        });
    }

    /// Waits until at least `count` mails are searchable.
    pub fn wait_searchable_at_least(&self, count: u64, seconds: u64) {
        eventually(&format!("at least {count} mails are searchable"), seconds, || {
            (self.count("*") >= count).then_some(())
        });
    }

    /// The archive's SIGKILL or stop, then fsck: clean or fails with what fsck says.
    pub fn assert_clean(&self) {
        let report = self.offline("fsck", &[]);
        assert_eq!(report.code, 0, "fsck: {}\n{}", report.stdout, report.stderr);
    }
}

/// A program that panicked may look well from outside: tokio keeps the others' tasks running.
pub(crate) fn assert_no_panic(log: &Path) {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let panicked = text.lines().find(|line| line.contains("panicked at"));
    // Not while another failure is on its way out: that would abort without a word.
    assert!(std::thread::panicking() || panicked.is_none(), "{}: {panicked:?}", log.display());
}

pub(crate) fn run(command: &mut Command) -> Ctl {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Ctl {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        },
        Err(error) => Ctl { code: -1, stdout: String::new(), stderr: error.to_string() },
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.terminate();
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the failed test's archive is kept in {}", folder.keep().display());
        }
    }
}
