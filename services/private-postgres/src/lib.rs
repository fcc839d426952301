//! A PostgreSQL cluster of our own: made by the system's `initdb`, reached over a UNIX socket only, run by an
//! unprivileged user. Used by `openarchive dev`, by `all` and by tests; never beyond one machine.

mod binaries;
mod cluster;
mod run_as;

pub use binaries::{Binaries, find_binaries};
pub use cluster::{Durability, PrivatePostgres, SOCKET_PARENT_BYTES_MAX, STOP_SECONDS_MAX};
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
    #[error(
        "user id {uid} has no name on this machine, which initdb refuses: add one to /etc/passwd of the machine or image, such as `openarchive:x:{uid}:{uid}::/:/usr/sbin/nologin`"
    )]
    NamelessUser { uid: u32 },
    #[error(
        "the folder for the database's socket, {path}, has more than {SOCKET_PARENT_BYTES_MAX} bytes: choose a shorter one, such as /tmp"
    )]
    SocketPathTooLong { path: String },
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
