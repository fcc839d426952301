//! What `openarchive all --config` needs: the sections of all roles but those for which it has something of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use openarchive_private_postgres::SOCKET_PARENT_BYTES_MAX;

use super::{
    ArchiveConfig, ConfigError, Environment, FixitySection, TlsConfig,
    file::{self, File},
    validate::{Refuser, agents_ca, archive_config, fixity, tls_config},
};

const COMMAND: &str = "all";
/// Where the private PostgreSQL's socket is made if the file does not say.
const TMP_DIR_DEFAULT: &str = "/tmp";

/// Every role in one process.
#[derive(Debug, Clone)]
pub(crate) struct AllConfig {
    pub(crate) archive: ArchiveConfig,
    pub(crate) tls: TlsConfig,
    /// What agents and the operator call.
    pub(crate) grpc: SocketAddr,
    pub(crate) rest: SocketAddr,
    /// Plain HTTP: /livez, /readyz, /metrics.
    pub(crate) admin: SocketAddr,
    /// Everything that lasts.
    pub(crate) data_dir: PathBuf,
    /// For the socket of the private PostgreSQL, and nothing else.
    pub(crate) tmp_dir: PathBuf,
    /// Folder of the KEK and the log keys; `None`: `keys` in [`Self::data_dir`].
    pub(crate) keys: Option<PathBuf>,
    pub(crate) agents_ca: Option<(PathBuf, PathBuf)>,
    pub(crate) fixity: FixitySection,
}

impl AllConfig {
    /// Reads `path`, lays the environment over it, and checks it.
    pub(crate) fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        validate(file::parse(path, &text, environment)?, path)
    }
}

fn validate(file: File, path: &Path) -> Result<AllConfig, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let refuse = Refuser { path };
    // A prober may share the file.
    let File { archive, listen, tls, database, objects, data_dir, tmp_dir, calls, trust, worker, prober: _ } =
        file;
    refuse_unused(&database, &objects, &calls, &refuse)?;
    let address =
        |value: Option<String>, key: &str| refuse.address(&refuse.required(value, key, COMMAND)?, key);
    let (keys, signer) = trust.map_or((None, None), |trust| (trust.keys, trust.agents_ca));
    let tmp_dir = folder.join(tmp_dir.unwrap_or_else(|| TMP_DIR_DEFAULT.into()));
    if tmp_dir.as_os_str().len() > SOCKET_PARENT_BYTES_MAX {
        let remedy = format!(
            "give a path of at most {SOCKET_PARENT_BYTES_MAX} bytes: a socket's address has no room for more"
        );
        return Err(refuse.value("tmpDir", format!("{} is too long", tmp_dir.display()), remedy));
    }
    Ok(AllConfig {
        archive: archive_config(refuse.required(archive, "archive", COMMAND)?, &refuse)?,
        tls: tls_config(&refuse.required(tls, "tls", COMMAND)?, folder, &refuse)?,
        grpc: address(listen.grpc, "listen.grpc")?,
        rest: address(listen.rest, "listen.rest")?,
        admin: address(listen.admin, "listen.admin")?,
        data_dir: folder.join(refuse.required(data_dir, "dataDir", COMMAND)?),
        tmp_dir,
        keys: keys.map(|keys| folder.join(keys)),
        agents_ca: agents_ca(signer, folder, &refuse)?,
        fixity: fixity(&worker.fixity, &refuse)?,
    })
}

/// A section that would not be heeded is refused: whoever wrote it believes that his mail is elsewhere.
fn refuse_unused(
    database: &file::Database,
    objects: &file::Objects,
    calls: &file::Calls,
    refuse: &Refuser<'_>,
) -> Result<(), ConfigError> {
    let file::Database { url_file, role_passwords } = database;
    let file::Calls { trust, storage, ingest, index, worker } = calls;
    let unused = [
        ("database", url_file.is_some() || role_passwords.is_some(), "a PostgreSQL of its own in dataDir"),
        ("objects", objects.local.is_some(), "its objects in dataDir"),
        (
            "calls",
            [trust, storage, ingest, index, worker].iter().any(|targets| !targets.is_empty()),
            "every role in its own process",
        ),
    ];
    match unused.into_iter().find(|(_, written, _)| *written) {
        None => Ok(()),
        Some((key, _, own)) => Err(refuse.value(
            key,
            format!("all has {own}"),
            "leave this section out, or run the roles as separate services",
        )),
    }
}
