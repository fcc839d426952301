//! A private Postfix: own configuration, queue, data and log.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use openarchive_e2e::{eventually, skip};
use openarchive_testkit::smtp_client::SmtpClient;

/// How it journals to an agent.
pub(super) struct Journal {
    /// A file beside main.cf: inside main.cf, `$1` would be expanded as a macro.
    pub(super) file: (&'static str, &'static str),
    /// Lines of main.cf; `{etc}` is the folder of the file, `{port}` the agent's.
    pub(super) settings: &'static str,
}

/// Prints why and returns true, unless skipping is forbidden.
pub(super) fn must_skip() -> bool {
    if !rustix::process::geteuid().is_root() {
        skip("Postfix starts only as root");
        return true;
    }
    if !Path::new("/usr/sbin/postfix").exists() {
        skip("Postfix is not installed: `make setup`");
        return true;
    }
    false
}

/// Stopped when dropped.
pub(super) struct Postfix {
    home: PathBuf,
    port: u16,
}

impl Postfix {
    pub(super) fn start(home: &Path, agent_port: u16, journal: &Journal) -> Self {
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
            "lmtp unix - - n - - lmtp",
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
        let (name, text) = journal.file;
        fs::write(home.join("etc").join(name), text).unwrap();
        let etc = home.join("etc").display().to_string();
        let journal = journal.settings.replace("{etc}", &etc).replace("{port}", &agent_port.to_string());
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {h}/queue\ndata_directory = {h}/data\ncommand_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {h}/log/mail.log\nmaillog_file_prefixes = /\nmyhostname = mx.example.test\nmydestination =\nalias_maps =\nalias_database =\nlocal_recipient_maps =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nrelay_domains = example.test\nsmtpd_relay_restrictions = permit_mynetworks, reject\ndisable_dns_lookups = yes\nsmtp_host_lookup = native\nsmtpd_peername_lookup = no\ndefault_transport = discard:\nrelay_transport = discard:\nsmtp_tls_security_level = may\nsmtp_tls_loglevel = 1\nlmtp_host_lookup = native\nlmtp_tls_security_level = may\nlmtp_tls_loglevel = 1\nmessage_size_limit = 1000000\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n{journal}\n",
            h = home.display()
        );
        fs::write(home.join("etc/main.cf"), settings).unwrap();
        let started = Command::new("postfix").arg("-c").arg(home.join("etc")).arg("start").output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        eventually("Postfix listens", 30, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { home: home.to_owned(), port }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn send(&self, from: &str, to: &[&str], message: &[u8]) {
        let mut client = SmtpClient::connect(&self.address()).unwrap();
        let to: Vec<String> = to.iter().map(|address| (*address).to_owned()).collect();
        let reply = client.send(from, &to, message).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.home.join("log/mail.log")).unwrap_or_default()
    }

    pub(super) fn queued(&self) -> usize {
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
