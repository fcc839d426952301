//! The real program in a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use openarchive_mail::journal::JournalMode;
use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

use crate::client::HOSTNAME;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_openarchive-edge");

pub(crate) struct Binary {
    child: Child,
    pub(crate) address: SocketAddr,
}

pub(crate) fn write_config(folder: &Path) -> PathBuf {
    write_config_of(folder, JournalMode::Plain)
}

fn write_config_of(folder: &Path, mode: JournalMode) -> PathBuf {
    let path = folder.join("edge.yaml");
    let text = format!(
        "dataDir: data\nhostname: {HOSTNAME}\nlisteners:\n  - name: journal\n    address: 127.0.0.1\n    port: 0\n    \
         peers:\n      - {{cidrs: [127.0.0.0/8], journalMode: {mode}}}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

impl Binary {
    /// Waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_as(Command::new(PROGRAM), folder, JournalMode::Plain)
    }

    /// `command` is the program or something that runs it.
    pub(crate) fn start_as(mut command: Command, folder: &Path, mode: JournalMode) -> Self {
        let mut child = command
            .args(["run", "--config"])
            .arg(write_config_of(folder, mode))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("edge.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening journal ") else {
            panic!("the agent says {line:?}: {}", fs::read_to_string(folder.join("edge.log")).unwrap())
        };
        Self { child, address: address.parse().unwrap() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM to the process `pid`; waits until the child is gone.
    pub(crate) fn terminate(mut self, pid: u32) {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// A figure in KiB from /proc/PID/status.
    pub(crate) fn memory_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 30 s for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn status_shows_what_is_buffered_and_the_program_stops_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let status = |output: &str| {
        let arguments = ["status", "-o", output, "--config"];
        let output = Command::new(PROGRAM).args(arguments).arg(&config).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (success, _, error) = status("text");
    assert!(!success && error.contains("no agent has run on"), "{error}");

    let edge = Binary::start(folder.path());
    let mut client = crate::client::Client::ready(edge.address);
    assert_eq!(client.mail(b"x\r\n"), "250 2.0.0 kept as 1\n");
    let (success, text, error) = status("text");
    assert!(success && text.contains("buffered         1 mails"), "{text} {error}");
    let (_, json, _) = status("json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["bufferedMessages"], &json["highestSeq"]), (&1.into(), &"1".into()));
    assert_eq!(json["alarms"], serde_json::json!([]));
    let pid = edge.pid();
    edge.terminate(pid);
    assert_eq!(client.reply(), "421 4.3.2 shutting down, try again later\n");
    assert!(status("json").0, "it can be asked when the agent is down");
}

/// Whoever waits until it is empty would wait for ever.
#[test]
fn an_agent_that_drains_imports_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let mail = folder.path().join("mail.eml");
    fs::write(&mail, "Subject: x\r\n\r\n").unwrap();
    let import = || {
        let output =
            Command::new(PROGRAM).arg("import").arg(&mail).arg("--config").arg(&path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(import().0);
    fs::write(&path, fs::read_to_string(&path).unwrap() + "drain: true\n").unwrap();
    let (success, error) = import();
    assert!(!success && error.contains("drain: this agent takes no new mail"), "{error}");
}

/// Certificate and key of an agent, PEM.
fn agent_certificate(until_year: i32) -> (String, String) {
    let mut params = CertificateParams::default();
    let uri = "spiffe://archive.test/tenant/acme/edge/mx1";
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_after = date_time_ymd(until_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// As an init container runs it at each start.
#[test]
fn enrolling_where_a_certificate_is_there_is_an_error_or_nothing_to_do_while_it_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let core = "core: {address: 'https://localhost:1', ca: ca.pem, certificate: agent.pem, key: agent.key, \
                logPolicy: log.policy}\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + core).unwrap();
    let enrol = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["enrol", "--token-file"])
            .arg(folder.path().join("no-token"))
            .arg("--config")
            .arg(&path);
        let output = command.args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (success, _, error) = enrol(&["--if-needed"]);
    assert!(!success && error.contains("no-token"), "it is needed: {error}");
    let certificate = folder.path().join("agent.pem");
    let (good, key) = agent_certificate(2999);
    let put = |pem: &str, key: &str| {
        fs::write(&certificate, pem).unwrap();
        fs::write(folder.path().join("agent.key"), key).unwrap();
    };
    put(&good, &key);
    let (success, said, error) = enrol(&["--if-needed"]);
    let expected = format!("nothing to do: the certificate {} is there already\n", certificate.display());
    assert!(success && said == expected, "{said} {error}");
    let (success, _, error) = enrol(&[]);
    assert!(!success && error.contains("is there already: this agent has enrolled"), "{error}");

    let (ended, key_of_ended) = agent_certificate(2001);
    let cases = [
        ("", key.as_str(), "holds no agent's certificate"),
        ("a certificate", key.as_str(), "holds no agent's certificate"),
        (&good[..good.len() / 2], key.as_str(), "holds no agent's certificate"),
        (good.as_str(), key_of_ended.as_str(), "is for another key than"),
        (good.as_str(), "", "is not a private key"),
        (ended.as_str(), key.as_str(), "is for another key than"),
        (ended.as_str(), key_of_ended.as_str(), "ended at 2001-01-01T00:00:00.000Z"),
    ];
    for (pem, key, expected) in cases {
        put(pem, key);
        let (success, _, error) = enrol(&["--if-needed"]);
        let named = error.contains(&certificate.display().to_string());
        assert!(!success && named && error.contains(expected), "{expected}: {error}");
        assert!(error.contains("enrol with a new token"), "{error}");
        assert_eq!(fs::read_to_string(&certificate).unwrap(), pem, "it stays as it is");
    }
}

#[test]
fn a_wrong_configuration_is_said_on_one_line_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.yaml");
    fs::write(&path, "dataDir: data\nlisteners: []\n").unwrap();
    let output = Command::new(PROGRAM).args(["run", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = format!("openarchive-edge: {}: listeners: there is none", path.display());
    assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
}
