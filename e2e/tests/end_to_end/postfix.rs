//! A real Postfix journals to the agent over STARTTLS. Needs root: Postfix demands it at start.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use openarchive_e2e::{Agent, AgentOptions, Archive, PeerMode, eventually, skip};
use openarchive_testkit::smtp_client::SmtpClient;

/// A private instance: own configuration, queue, data and log; stopped when dropped.
struct Postfix {
    home: PathBuf,
    port: u16,
}

impl Postfix {
    fn start(home: &Path, agent_port: u16) -> Self {
        for folder in ["etc", "queue", "data", "log"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
        let postfix = passwd("postfix");
        chown(home.join("data"), Some(postfix), None).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let services = [
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 1 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "proxymap unix - - n - - proxymap",
            "proxywrite unix - - n - 1 proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "showq unix n - n - - showq",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "postlog unix-dgram n - n - 1 postlogd",
        ];
        fs::write(
            home.join("etc/master.cf"),
            format!("127.0.0.1:{port} inet n - n - - smtpd\n{}\n", services.join("\n")),
        )
        .unwrap();
        // In a file of its own: inside main.cf, `$1` would be expanded as a macro.
        fs::write(home.join("etc/journal.re"), "/^(.+)@(.+)$/ jrn+$1=$2@journal.test\n").unwrap();
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {h}/queue\ndata_directory = {h}/data\ncommand_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {h}/log/mail.log\nmaillog_file_prefixes = /\nmyhostname = mx.example.test\nmydestination =\nalias_maps =\nalias_database =\nlocal_recipient_maps =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nrelay_domains = example.test\nsmtpd_relay_restrictions = permit_mynetworks, reject\ndisable_dns_lookups = yes\nsmtp_host_lookup = native\nsmtpd_peername_lookup = no\ndefault_transport = discard:\nrelay_transport = discard:\ntransport_maps = inline:{{ {{ journal.test = smtp:[127.0.0.1]:{agent_port} }} }}\nsmtp_tls_security_level = may\nsmtp_tls_policy_maps = inline:{{ {{ [127.0.0.1]:{agent_port} = encrypt }} }}\nsmtp_tls_loglevel = 1\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\nrecipient_bcc_maps = regexp:{h}/etc/journal.re\n",
            h = home.display()
        );
        fs::write(home.join("etc/main.cf"), settings).unwrap();
        let started = Command::new("postfix").arg("-c").arg(home.join("etc")).arg("start").output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        eventually("Postfix listens", 30, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { home: home.to_owned(), port }
    }

    fn send(&self, from: &str, to: &[&str], message: &[u8]) {
        let mut client = SmtpClient::connect(&format!("127.0.0.1:{}", self.port)).unwrap();
        let to: Vec<String> = to.iter().map(|address| (*address).to_owned()).collect();
        let reply = client.send(from, &to, message).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    }

    fn queued(&self) -> usize {
        let output =
            Command::new("postqueue").arg("-c").arg(self.home.join("etc")).arg("-j").output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().count()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("postfix").arg("-c").arg(self.home.join("etc")).arg("stop").output();
    }
}

fn passwd(user: &str) -> u32 {
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

fn message(subject: &str) -> Vec<u8> {
    format!("From: Sender <sender@example.test>\r\nTo: open@example.test\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n")
        .into_bytes()
}

#[test]
fn postfix_journals_every_recipient_over_starttls_and_its_queue_holds_while_the_agent_is_down() {
    if !rustix::process::geteuid().is_root() {
        skip("Postfix starts only as root");
        return;
    }
    if !Path::new("/usr/sbin/postfix").exists() {
        skip("Postfix is not installed: `make setup`");
        return;
    }
    let archive = Archive::all();
    let options = AgentOptions { mode: PeerMode::JrnPlus, ..AgentOptions::default() };
    let mut agent = Agent::start_new(&archive, options);
    let home = tempfile::Builder::new().prefix("oa-postfix-").tempdir_in("/tmp").unwrap();
    let postfix = Postfix::start(home.path(), agent.options.port);

    // hidden@ stands in no header: only the envelope knows of it.
    postfix.send("sender@example.test", &["open@example.test", "hidden@example.test"], &message("first"));
    // The null sender: a bounce from outside.
    postfix.send("", &["open@example.test"], &message("bounce"));
    let envelopes = eventually("both mails are archived with every recipient", 60, || {
        let first = envelope_recipients(&archive, "subject:first");
        let bounce = envelope_recipients(&archive, "subject:bounce");
        (first.contains("hidden@example.test") && first.contains("open@example.test") && !bounce.is_empty())
            .then_some((first, bounce))
    });
    assert!(envelopes.1.contains("open@example.test"), "{envelopes:?}");
    assert!(!envelopes.0.contains("journal.test"), "the journal's own addresses are undone: {envelopes:?}");
    assert_eq!(archive.count("bcc:hidden@example.test"), 1, "the hidden recipient can be searched for");

    agent.terminate();
    for n in 0..5 {
        postfix.send("sender@example.test", &["open@example.test"], &message(&format!("held{n}")));
    }
    eventually("Postfix holds what it cannot deliver", 30, || (postfix.queued() >= 5).then_some(()));
    assert_eq!(archive.count("subject:held*"), 0);
    agent.start();
    eventually("the queue drains", 60, || (postfix.queued() == 0).then_some(()));
    agent.wait_drained(60);
    eventually("what was held is archived", 60, || (archive.count("subject:held*") == 5).then_some(()));

    let log = fs::read_to_string(home.path().join("log/mail.log")).unwrap();
    assert!(log.contains("TLS connection established to 127.0.0.1"), "journaled over STARTTLS");
}

/// Every envelope recipient of every observation of the mails that a query finds.
fn envelope_recipients(archive: &Archive, query: &str) -> String {
    let found = archive.ctl(&["search", query, "-o", "json"]);
    if found.code != 0 {
        return String::new();
    }
    let mut recipients = Vec::new();
    for hit in found.json()["results"].as_array().into_iter().flatten() {
        let shown = archive.ctl(&["message", "show", hit["id"].as_str().unwrap(), "-o", "json"]).json();
        for observation in shown["observations"].as_array().into_iter().flatten() {
            recipients.push(observation["envelope"]["to"].to_string());
        }
    }
    recipients.join(" ")
}
