//! The configuration of one role, or of all of them in one process: a YAML file, and environment variables over it.
//!
//! `OPENARCHIVE__LISTEN__GRPC=0.0.0.0:9443` sets `listen.grpc`; a value is YAML, so lists are `["a:1", "b:2"]`. A key that
//! is not known is refused, from either source. Secrets are given as files, never as values.

mod all;
mod environment;
mod file;
mod prober;
mod validate;

#[cfg(test)]
mod tests;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_domain::{RetentionClass, Tenant};
use openarchive_rpc::Target;
use openarchive_topology::Role;

pub(crate) use all::AllConfig;
pub(crate) use environment::Environment;
pub(crate) use prober::ProberConfig;
pub(crate) use validate::MigrationConfig;

/// What a role needs before it starts. Everything that can be checked without a network has been.
#[derive(Debug, Clone)]
pub(crate) struct RoleConfig {
    pub(crate) archive: ArchiveConfig,
    pub(crate) tls: TlsConfig,
    /// gRPC, or REST for the gateway.
    pub(crate) listen: SocketAddr,
    /// Plain HTTP: /livez, /readyz, /metrics.
    pub(crate) admin: SocketAddr,
    /// URL with user and password, read from its file. Never shown. `None` for roles without a database.
    pub(crate) database: Option<DatabaseUrl>,
    /// Folder of the local object store, for storage and trust.
    pub(crate) objects: Option<PathBuf>,
    /// Spool of storage, the index of index.
    pub(crate) data_dir: Option<PathBuf>,
    /// Where each role stands that this one calls.
    pub(crate) calls: Vec<(Role, Vec<Target>)>,
    pub(crate) trust: Option<TrustSection>,
    /// Used by worker.
    pub(crate) fixity: FixitySection,
}

#[derive(Debug, Clone)]
pub(crate) struct ArchiveConfig {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) default_class: RetentionClass,
}

/// PEM files, read again when they change.
#[derive(Debug, Clone)]
pub(crate) struct TlsConfig {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct TrustSection {
    /// Folder of the KEK and the log keys, mode 0700; made at first start.
    pub(crate) keys: PathBuf,
    /// The intermediate that signs agents' certificates; `None`: agents are enrolled elsewhere.
    pub(crate) agents_ca: Option<(PathBuf, PathBuf)>,
}

/// How often, and how fast, every pack is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FixitySection {
    pub(crate) interval: Duration,
    pub(crate) bytes_per_second: u64,
}

/// A database URL. Its Debug form hides the password.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// What is wrong with a configuration: which key, what about it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Shape { path: PathBuf, problem: String },
    #[error("{variable}: {problem}")]
    Variable { variable: String, problem: String },
    #[error("{}: {key}: {problem}: {remedy}", path.display())]
    Value { path: PathBuf, key: String, problem: String, remedy: String },
}

impl RoleConfig {
    /// Reads `path`, lays the environment over it, and checks what `role` needs. Reads secret files.
    pub(crate) fn load(role: Role, path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file = file::parse(path, &text, environment)?;
        validate::validate(role, file, path)
    }

    /// Where `role` is reached. Empty when this role does not call it.
    pub(crate) fn targets(&self, role: Role) -> &[Target] {
        self.calls.iter().find(|(called, _)| *called == role).map_or(&[], |(_, targets)| targets)
    }
}

/// What an archive is, and the folder of its keys: of trust, or of `all`.
pub(crate) fn load_keys(
    path: &Path,
    environment: &Environment,
) -> Result<(ArchiveConfig, PathBuf), ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    validate::keys(file::parse(path, &text, environment)?, path)
}

/// The database of `openarchive migrate`: only that section of the file is needed.
pub(crate) fn load_migration(path: &Path, environment: &Environment) -> Result<MigrationConfig, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    validate::migration(file::parse(path, &text, environment)?, path)
}
