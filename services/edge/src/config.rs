//! The agent's configuration: what the file says, checked.
//!
//! ```yaml
//! dataDir: /var/lib/openarchive-edge
//! hostname: mx1.example.com             # in the greeting; by default the system's name
//! drain: false                          # true: no new mail is taken, what is buffered is sent on
//! admin: 127.0.0.1:9464                 # plain HTTP: /livez, /readyz, /metrics; without it there is none
//! core:
//!   address: https://archive.example.com:7443
//!   ca: ca.pem                          # files are looked for beside the configuration file
//!   certificate: agent.pem
//!   key: agent.key
//!   logPolicy: trust.policy
//! listeners:
//!   - name: journal
//!     address: 0.0.0.0
//!     port: 2525
//!     protocol: smtp                    # or lmtp
//!     startTLS: {certificate: tls.pem, key: tls.key, required: true}   # without files: self-signed, in dataDir
//!     peers:                            # the first that matches decides
//!       - cidrs: [192.0.2.0/24]
//!         journalMode: jrn-plus         # or plain, x-envelope-to, exchange-report
//!         limits:                       # of all clients of this entry together
//!           connections: 1500
//!           connectionsPerMinute: 600   # by default as many as come
//!           mailsPerMinute: 6000        # by default as many as come
//! buffer:
//!   highWater: 8GiB                     # from here on 452
//! limits:
//!   messageSize: 150MiB
//!   connections: 2000                   # of each listener
//!   commandTimeoutSeconds: 300
//!   bodyTimeoutSeconds: 180
//! ```

mod file;
mod size;
mod validate;

#[cfg(test)]
mod tests;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::smtp::{
    Peer, limits,
    session::{Protocol, StartTls},
};

/// The high-water mark if the file does not give one.
pub const HIGH_WATER_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Whether the agent takes new mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intake {
    #[default]
    Open,
    /// It is to be emptied: every listener turns clients away, and sync goes on.
    Draining,
}

/// Everything the agent needs, free of contradictions. May also be made by hand.
#[derive(Debug, Clone)]
pub struct Config {
    /// The buffer, spool files and the self-signed certificate are here.
    pub data_dir: PathBuf,
    pub hostname: String,
    /// Without a core, mail is accepted and buffered, and nothing is synced.
    pub core: Option<CoreConfig>,
    pub listeners: Vec<ListenerConfig>,
    pub high_water_bytes: u64,
    pub limits: Limits,
    pub intake: Intake,
    /// Where `/livez`, `/readyz` and `/metrics` are answered in plain HTTP.
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreConfig {
    /// `https://HOST:PORT`
    pub address: String,
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The C2SP tlog-policy that receipts are checked against.
    pub log_policy: PathBuf,
}

#[derive(Debug, Clone)]
pub struct ListenerConfig {
    pub name: String,
    /// Port 0: the system chooses.
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub start_tls: StartTls,
    pub certificate: CertificateSource,
    pub peers: Vec<Peer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files.
    Given { certificate: PathBuf, key: PathBuf },
    /// Made at first start, kept in the data folder.
    SelfSigned,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub message_bytes_max: u64,
    /// Sessions of one listener at a time.
    pub connections_max: usize,
    pub command_timeout: Duration,
    pub body_timeout: Duration,
    pub tls_handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: openarchive_mail::limits::MESSAGE_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            command_timeout: limits::COMMAND_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            tls_handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
        }
    }
}

/// Says which file, which key, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {detail}", .path.display())]
    Syntax { path: PathBuf, detail: String },
    #[error("{}: {key}: {problem}; {remedy}", .path.display())]
    Value { path: PathBuf, key: String, problem: String, remedy: &'static str },
}

impl Config {
    /// Relative paths in the file are relative to the file's folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file =
            file::parse(text).map_err(|detail| ConfigError::Syntax { path: path.to_owned(), detail })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        validate::validate(file, folder).map_err(|invalid| ConfigError::Value {
            path: path.to_owned(),
            key: invalid.key,
            problem: invalid.problem,
            remedy: invalid.remedy,
        })
    }
}
