//! The shape of the file. One shape for every role: a file may be shared, and each role takes what it needs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, Environment};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) archive: Option<Archive>,
    #[serde(default)]
    pub(super) listen: Listen,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) database: Database,
    #[serde(default)]
    pub(super) objects: Objects,
    pub(super) data_dir: Option<PathBuf>,
    /// `openarchive all` alone.
    pub(super) tmp_dir: Option<PathBuf>,
    #[serde(default)]
    pub(super) calls: Calls,
    pub(super) trust: Option<Trust>,
    #[serde(default)]
    pub(super) worker: Worker,
    pub(super) prober: Option<Prober>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Archive {
    pub(super) domain: String,
    #[serde(default = "main")]
    pub(super) name: String,
    pub(super) tenants: Vec<String>,
    pub(super) retention: Retention,
}

fn main() -> String {
    "main".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) default: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) grpc: Option<String>,
    pub(super) rest: Option<String>,
    pub(super) admin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Database {
    pub(super) url_file: Option<PathBuf>,
    /// `openarchive migrate`: a file named like the role in this folder holds the password that the role gets.
    pub(super) role_passwords: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Objects {
    pub(super) local: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Calls {
    #[serde(default)]
    pub(super) trust: Vec<String>,
    #[serde(default)]
    pub(super) storage: Vec<String>,
    #[serde(default)]
    pub(super) ingest: Vec<String>,
    #[serde(default)]
    pub(super) index: Vec<String>,
    #[serde(default)]
    pub(super) worker: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) keys: Option<PathBuf>,
    pub(super) agents_ca: Option<AgentsCa>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AgentsCa {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Worker {
    #[serde(default)]
    pub(super) fixity: Fixity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fixity {
    pub(super) interval_days: Option<u32>,
    pub(super) bytes_per_second: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Prober {
    pub(super) canary: String,
    pub(super) peers: Vec<String>,
}

/// The error names the key, or the line where the text is not YAML.
pub(super) fn parse(path: &Path, text: &str, environment: &Environment) -> Result<File, ConfigError> {
    let shape = |problem: String| ConfigError::Shape { path: path.to_owned(), problem };
    let mut value: serde_json::Value = if text.trim().is_empty() {
        serde_json::Value::Null
    } else {
        serde_saphyr::from_str(text).map_err(|error| shape(error.to_string()))?
    };
    environment.lay_over(&mut value)?;
    if value.is_null() {
        value = serde_json::Value::Object(serde_json::Map::new());
    }
    serde_path_to_error::deserialize(value)
        .map_err(|error| shape(format!("{}: {}", error.path(), error.inner())))
}
