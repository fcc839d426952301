//! From the file's shape to what a role can start with.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_private_postgres::PrivatePostgres;
use openarchive_rpc::Target;
use openarchive_schema::DatabaseRole;
use openarchive_topology::Role;
use openarchive_trust::check_name;
use openarchive_worker::{FIXITY_BYTES_PER_SECOND_DEFAULT, FIXITY_INTERVAL_DEFAULT};

use super::{
    ArchiveConfig, ConfigError, DatabaseUrl, FixitySection, RoleConfig, TlsConfig, TrustSection,
    file::{self, File},
};
use crate::layout::{KEYS_FOLDER, POSTGRES_FOLDER};

/// What a role needs of the file beyond archive, tls and its two listeners.
struct Needs {
    database: bool,
    objects: bool,
    data_dir: bool,
    calls: &'static [Role],
}

const fn needs(role: Role) -> Needs {
    match role {
        Role::Trust => Needs { database: true, objects: true, data_dir: false, calls: &[] },
        Role::Storage => Needs { database: true, objects: true, data_dir: true, calls: &[Role::Trust] },
        Role::Ingest => {
            Needs { database: true, objects: false, data_dir: false, calls: &[Role::Storage, Role::Trust] }
        }
        Role::Index => Needs { database: false, objects: false, data_dir: true, calls: &[] },
        Role::Worker => Needs {
            database: true,
            objects: false,
            data_dir: false,
            calls: &[Role::Ingest, Role::Storage, Role::Index],
        },
        Role::Gateway => Needs {
            database: true,
            objects: false,
            data_dir: false,
            calls: &[Role::Ingest, Role::Index, Role::Trust, Role::Worker],
        },
        Role::Operator => Needs { database: false, objects: false, data_dir: false, calls: &[] },
    }
}

/// Refuses a value with its key and what to do.
pub(super) struct Refuser<'a> {
    pub(super) path: &'a Path,
}

impl Refuser<'_> {
    pub(super) fn value(
        &self,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            path: self.path.to_owned(),
            key: key.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// `command`: who needs it, as in `openarchive COMMAND`.
    pub(super) fn required<T>(&self, value: Option<T>, key: &str, command: &str) -> Result<T, ConfigError> {
        value.ok_or_else(|| {
            let variable = key.replace('.', "__").to_uppercase();
            let remedy = format!("set it in the file or as OPENARCHIVE__{variable}");
            self.value(key, format!("is missing, and {command} needs it"), remedy)
        })
    }

    pub(super) fn address(&self, text: &str, key: &str) -> Result<SocketAddr, ConfigError> {
        text.parse().map_err(|_| {
            self.value(key, format!("{text:?} is not ADDRESS:PORT"), "write something like 0.0.0.0:9443")
        })
    }

    pub(super) fn file(&self, folder: &Path, path: &Path, key: &str) -> Result<PathBuf, ConfigError> {
        let whole = folder.join(path);
        if whole.is_file() {
            return Ok(whole);
        }
        Err(self.value(
            key,
            format!("{} is not a file", whole.display()),
            "give a file that this user can read",
        ))
    }

    /// A secret in a file: the text without white space around it.
    fn secret(&self, folder: &Path, path: &Path, key: &str) -> Result<String, ConfigError> {
        let whole = self.file(folder, path, key)?;
        let text = fs::read_to_string(&whole).map_err(|error| {
            self.value(key, format!("{} cannot be read: {error}", whole.display()), "let this user read it")
        })?;
        match text.trim() {
            "" => Err(self.value(key, format!("{} is empty", whole.display()), "write the secret into it")),
            secret => Ok(secret.to_owned()),
        }
    }
}

pub(super) fn validate(role: Role, file: File, path: &Path) -> Result<RoleConfig, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let refuse = Refuser { path };
    // A shared file may say where `all` has its temporary files, and what a prober needs.
    let File {
        archive,
        listen,
        tls,
        database,
        objects,
        data_dir,
        tmp_dir: _,
        calls,
        trust,
        worker,
        prober: _,
    } = file;
    let (needs, command) = (needs(role), role.name());
    let (address, key) =
        if role == Role::Gateway { (listen.rest, "listen.rest") } else { (listen.grpc, "listen.grpc") };
    let tls = refuse.required(tls, "tls", command)?;
    let admin = refuse.required(listen.admin, "listen.admin", command)?;
    let trust = match (role, trust) {
        (Role::Trust, section) => {
            let section = refuse.required(section, "trust", command)?;
            let keys = folder.join(refuse.required(section.keys, "trust.keys", command)?);
            Some(TrustSection { keys, agents_ca: agents_ca(section.agents_ca, folder, &refuse)? })
        }
        (_, _) => None,
    };
    Ok(RoleConfig {
        archive: archive_config(refuse.required(archive, "archive", command)?, &refuse)?,
        tls: tls_config(&tls, folder, &refuse)?,
        listen: refuse.address(&refuse.required(address, key, command)?, key)?,
        admin: refuse.address(&admin, "listen.admin")?,
        database: if needs.database {
            let url_file = refuse.required(database.url_file, "database.urlFile", command)?;
            Some(database_url(&refuse, folder, &url_file)?)
        } else {
            None
        },
        objects: if needs.objects {
            Some(folder.join(refuse.required(objects.local, "objects.local", command)?))
        } else {
            None
        },
        data_dir: if needs.data_dir {
            Some(folder.join(refuse.required(data_dir, "dataDir", command)?))
        } else {
            None
        },
        calls: called(&calls, needs.calls, command, &refuse)?,
        trust,
        fixity: fixity(&worker.fixity, &refuse)?,
    })
}

pub(super) fn tls_config(
    tls: &file::Tls,
    folder: &Path,
    refuse: &Refuser<'_>,
) -> Result<TlsConfig, ConfigError> {
    Ok(TlsConfig {
        certificate: refuse.file(folder, &tls.certificate, "tls.certificate")?,
        key: refuse.file(folder, &tls.key, "tls.key")?,
        ca: refuse.file(folder, &tls.ca, "tls.ca")?,
    })
}

/// Certificate and key.
pub(super) fn agents_ca(
    section: Option<file::AgentsCa>,
    folder: &Path,
    refuse: &Refuser<'_>,
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let Some(file::AgentsCa { certificate, key }) = section else { return Ok(None) };
    Ok(Some((
        refuse.file(folder, &certificate, "trust.agentsCa.certificate")?,
        refuse.file(folder, &key, "trust.agentsCa.key")?,
    )))
}

pub(super) fn archive_config(
    archive: file::Archive,
    refuse: &Refuser<'_>,
) -> Result<ArchiveConfig, ConfigError> {
    let mut tenants = Vec::with_capacity(archive.tenants.len());
    for (index, name) in archive.tenants.iter().enumerate() {
        let tenant = name.parse().map_err(|error: openarchive_domain::ParseError| {
            refuse.value(&format!("archive.tenants[{index}]"), error.to_string(), "write a DNS label")
        })?;
        if tenants.contains(&tenant) {
            return Err(refuse.value(
                &format!("archive.tenants[{index}]"),
                "is listed twice",
                "list it once",
            ));
        }
        tenants.push(tenant);
    }
    if tenants.is_empty() {
        return Err(refuse.value("archive.tenants", "there is none", "list at least one"));
    }
    check_names(&archive, refuse)?;
    let default_class = archive.retention.default.parse().map_err(|error| {
        let problem = format!("{:?}: {error}", archive.retention.default);
        refuse.value("archive.retention.default", problem, "write a class such as 10y-received-forbidden")
    })?;
    Ok(ArchiveConfig { domain: archive.domain, name: archive.name, tenants, default_class })
}

/// As trust would refuse them at its start. Every role has them in its calls, so every role refuses them.
fn check_names(archive: &file::Archive, refuse: &Refuser<'_>) -> Result<(), ConfigError> {
    let check = |key: &str, domain: &str, name: &str, remedy: &str| {
        check_name(domain, name).map_err(|error| refuse.value(key, error.to_string(), remedy))
    };
    // Beside a name that is good whatever the file says, a refusal is about the domain.
    check(
        "archive.domain",
        &archive.domain,
        "x",
        "write a domain that is yours, such as archive.example.org",
    )?;
    check("archive.name", &archive.domain, &archive.name, "write a short name, such as main")
}

/// Days of one fixity pass, at most: what nobody has read for years may be gone from every replica and backup.
const FIXITY_INTERVAL_DAYS_MAX: u32 = 366;
/// Bytes a second that a fixity pass may be given, at least: slower, and it never comes round.
const FIXITY_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

pub(super) fn fixity(file: &file::Fixity, refuse: &Refuser<'_>) -> Result<FixitySection, ConfigError> {
    let interval = match file.interval_days {
        None => FIXITY_INTERVAL_DEFAULT,
        Some(days @ 1..=FIXITY_INTERVAL_DAYS_MAX) => Duration::from_secs(u64::from(days) * 24 * 3600),
        Some(days) => {
            let remedy = format!("write 1 to {FIXITY_INTERVAL_DAYS_MAX} days");
            return Err(refuse.value(
                "worker.fixity.intervalDays",
                format!("{days} is no such number"),
                remedy,
            ));
        }
    };
    let bytes_per_second = file.bytes_per_second.unwrap_or(FIXITY_BYTES_PER_SECOND_DEFAULT);
    if bytes_per_second < FIXITY_BYTES_PER_SECOND_MIN {
        let remedy = format!("write at least {FIXITY_BYTES_PER_SECOND_MIN}");
        let problem = format!("{bytes_per_second} is too slow");
        return Err(refuse.value("worker.fixity.bytesPerSecond", problem, remedy));
    }
    Ok(FixitySection { interval, bytes_per_second })
}

fn database_url(refuse: &Refuser<'_>, folder: &Path, path: &Path) -> Result<DatabaseUrl, ConfigError> {
    let key = "database.urlFile";
    if path.to_string_lossy().contains("://") {
        // It holds the password that should have been in a file: it is not repeated here.
        return Err(refuse.value(
            key,
            "it is a URL, not the path of a file",
            "write the URL into a file that only this role may read, and its path here",
        ));
    }
    let url = refuse.secret(folder, path, key)?;
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        // The text may hold a password: it is not repeated here.
        return Err(refuse.value(
            key,
            "its text is not a postgres:// URL",
            "write postgres://USER:PASSWORD@HOST/DATABASE",
        ));
    }
    Ok(DatabaseUrl(url))
}

fn called(
    calls: &file::Calls,
    needed: &[Role],
    command: &str,
    refuse: &Refuser<'_>,
) -> Result<Vec<(Role, Vec<Target>)>, ConfigError> {
    needed
        .iter()
        .map(|called| {
            let targets = match called {
                Role::Trust => &calls.trust,
                Role::Storage => &calls.storage,
                Role::Ingest => &calls.ingest,
                Role::Index => &calls.index,
                Role::Worker => &calls.worker,
                Role::Gateway | Role::Operator => &Vec::new(),
            };
            let key = format!("calls.{}", called.name());
            if targets.is_empty() {
                refuse.required(None::<()>, &key, command)?;
            }
            let targets = targets.iter().enumerate().map(|(index, target)| {
                target.parse::<Target>().map_err(|_| {
                    let problem = format!("{target:?} is not HOST:PORT");
                    refuse.value(&format!("{key}[{index}]"), problem, "write no scheme and no path")
                })
            });
            Ok((*called, targets.collect::<Result<_, _>>()?))
        })
        .collect()
}

pub(super) fn keys(file: File, path: &Path) -> Result<(ArchiveConfig, PathBuf), ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let (refuse, command) = (Refuser { path }, "trust-policy");
    let archive = archive_config(refuse.required(file.archive, "archive", command)?, &refuse)?;
    let of_all = file.data_dir.map(|data_dir| data_dir.join(KEYS_FOLDER));
    let keys = file.trust.and_then(|trust| trust.keys).or(of_all);
    Ok((archive, folder.join(refuse.required(keys, "trust.keys", command)?)))
}

/// What `openarchive migrate` needs.
#[derive(Debug)]
pub(crate) struct MigrationConfig {
    /// Of a role that may create roles and schemas; of a running `openarchive all` where the file names none.
    pub(crate) admin: DatabaseUrl,
    /// By login role; empty: passwords are left as they are.
    pub(crate) passwords: Vec<(DatabaseRole, RolePassword)>,
}

/// A password. Its Debug form hides it.
#[derive(Clone)]
pub(crate) struct RolePassword(String);

impl RolePassword {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RolePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RolePassword(..)")
    }
}

pub(super) fn migration(file: File, path: &Path) -> Result<MigrationConfig, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let refuse = Refuser { path };
    let Some(url_file) = file.database.url_file else {
        let postgres = file.data_dir.map(|data_dir| folder.join(data_dir).join(POSTGRES_FOLDER));
        if let Some(url) = postgres.and_then(|postgres| PrivatePostgres::url_of_running(&postgres)) {
            return Ok(MigrationConfig { admin: DatabaseUrl(url), passwords: Vec::new() });
        }
        let remedy = "name a file with the URL of a role that may create roles, or start `openarchive all`";
        return Err(refuse.value("database.urlFile", "is missing, and nothing runs in dataDir", remedy));
    };
    let admin = database_url(&refuse, folder, &url_file)?;
    let mut passwords = Vec::new();
    if let Some(dir) = &file.database.role_passwords {
        for role in DatabaseRole::ALL {
            let key = format!("database.rolePasswords/{role}");
            passwords.push((role, RolePassword(refuse.secret(folder, &dir.join(role.as_str()), &key)?)));
        }
    }
    Ok(MigrationConfig { admin, passwords })
}
