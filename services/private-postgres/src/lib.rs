//! A PostgreSQL cluster of our own: made by the system's `initdb`, reached over a UNIX socket only, run by an
//! unprivileged user. Used by `openarchive dev` and by tests; never beyond one machine.

mod binaries;
mod cluster;
mod run_as;

pub use binaries::{Binaries, find_binaries};
pub use cluster::{Durability, PrivatePostgres};
pub use run_as::RunAs;

/// Why the cluster is not there. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no PostgreSQL binaries found (initdb, postgres): run `make setup`, install Debian's `postgresql`, or set OPENARCHIVE_PG_BIN to their folder"
    )]
    NotInstalled,
    #[error(
        "postgres refuses to run as root and no unprivileged user `postgres` or `nobody` is there: create one"
    )]
    NoUnprivilegedUser,
    #[error(
        "the unprivileged user {user} cannot enter {path}: as root, choose a data folder that other users can reach, such as one under /var/tmp"
    )]
    Unreachable { user: String, path: String },
    #[error("{program} failed ({status}): {output}")]
    Program { program: &'static str, status: String, output: String },
    #[error("postgres did not accept connections within {seconds} s; its log is {log}")]
    NotReady { seconds: u64, log: String },
    #[error("{what}: {path}")]
    Io {
        what: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl PostgresError {
    pub(crate) fn io(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.display().to_string(), source }
    }
}
