//! A private Postfix that takes mail into its hold queue: durable and not delivered, as an agent's buffer is.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use openarchive_e2e::eventually;

use crate::{edge::free_port, processes::run};

/// Stopped when dropped.
pub struct Postfix {
    home: PathBuf,
    port: u16,
}

const SERVICES: [&str; 8] = [
    "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 1 1 qmgr",
    "rewrite unix - - n - - trivial-rewrite",
    "bounce unix - - n - 0 bounce",
    "proxymap unix - - n - - proxymap",
    "discard unix - - n - - discard",
    "anvil unix - - n - 1 anvil",
    "postlog unix-dgram n - n - 1 postlogd",
];

impl Postfix {
    /// Needs root.
    pub fn start(home: &Path) -> anyhow::Result<Self> {
        for folder in ["etc", "queue", "data", "log"] {
            fs::create_dir_all(home.join(folder))?;
        }
        fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
        chown(home.join("data"), Some(user_id("postfix")?), None)?;
        let port = free_port()?;
        let services = SERVICES.join("\n");
        // As many smtpd processes as there may be sessions.
        let master = format!("127.0.0.1:{port} inet n - n - 200 smtpd\n{services}\n");
        fs::write(home.join("etc/master.cf"), master)?;
        fs::write(
            home.join("etc/main.cf"),
            format!(
                "compatibility_level = 3.6\nqueue_directory = {h}/queue\ndata_directory = {h}/data\n\
                 command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
                 setgid_group = postdrop\nmaillog_file = {h}/log/mail.log\nmaillog_file_prefixes = /\n\
                 myhostname = mx.example.test\nmydestination =\nalias_maps =\nalias_database =\n\
                 local_recipient_maps =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
                 mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
                 smtpd_client_restrictions = check_client_access static:HOLD\ndisable_dns_lookups = yes\nsmtpd_peername_lookup = no\n\
                 default_transport = discard:\nsmtpd_client_connection_count_limit = 0\nmessage_size_limit = 200000000\n",
                h = home.display()
            ),
        )?;
        run(Command::new("postfix").arg("-c").arg(home.join("etc")).arg("start"))?;
        eventually("Postfix listens", 30, || TcpStream::connect(("127.0.0.1", port)).ok());
        Ok(Self { home: home.to_owned(), port })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Fails unless exactly `mails` are held.
    pub fn check_kept(&self, mails: u64) -> anyhow::Result<()> {
        let mut kept = 0;
        let mut folders = vec![self.home.join("queue/hold")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    kept += 1;
                }
            }
        }
        ensure!(kept == mails, "{mails} mails were accepted, Postfix holds {kept}");
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("postfix").arg("-c").arg(self.home.join("etc")).arg("stop").output();
    }
}

fn user_id(user: &str) -> anyhow::Result<u32> {
    let text = fs::read_to_string("/etc/passwd")?;
    let line = text.lines().find(|line| line.starts_with(&format!("{user}:")));
    let id = line.and_then(|line| line.split(':').nth(2)).and_then(|id| id.parse().ok());
    id.with_context(|| format!("there is no user {user}"))
}
