//! The shape of the file.

use std::path::PathBuf;

use serde::Deserialize;

use super::size::Size;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) data_dir: PathBuf,
    pub(super) hostname: Option<String>,
    #[serde(default)]
    pub(super) drain: bool,
    pub(super) admin: Option<String>,
    pub(super) core: Option<Core>,
    pub(super) listeners: Vec<Listener>,
    #[serde(default)]
    pub(super) buffer: Buffer,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Core {
    pub(super) address: String,
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) log_policy: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) port: u16,
    pub(super) protocol: Option<String>,
    #[serde(rename = "startTLS", default)]
    pub(super) start_tls: StartTls,
    pub(super) peers: Vec<Peer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StartTls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    #[serde(default)]
    pub(super) required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) cidrs: Vec<String>,
    pub(super) journal_mode: String,
    #[serde(default)]
    pub(super) limits: PeerLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PeerLimits {
    pub(super) connections: Option<usize>,
    pub(super) connections_per_minute: Option<u32>,
    pub(super) mails_per_minute: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Buffer {
    pub(super) high_water: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) message_size: Option<Size>,
    pub(super) connections: Option<usize>,
    pub(super) command_timeout_seconds: Option<u64>,
    pub(super) body_timeout_seconds: Option<u64>,
}

/// The error names the line and the key.
pub(super) fn parse(text: &str) -> Result<File, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
