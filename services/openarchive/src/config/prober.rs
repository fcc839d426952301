//! What `openarchive prober --config` needs.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use super::{
    ConfigError, Environment,
    file::{self, File},
    validate::Refuser,
};

const COMMAND: &str = "prober";

/// All probers of an archive listen on the same two ports.
#[derive(Debug, Clone)]
pub(crate) struct ProberConfig {
    /// Plain HTTP: /livez, /readyz, /metrics, /verdict. Policies let it through.
    pub(crate) admin: SocketAddr,
    /// Policies do not let it through.
    pub(crate) canary: SocketAddr,
    /// Host names or addresses of all probers, this one among them or not.
    pub(crate) peers: Vec<String>,
}

impl ProberConfig {
    /// Reads `path`, lays the environment over it, and checks it.
    pub(crate) fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        validate(file::parse(path, &text, environment)?, path)
    }
}

fn validate(file: File, path: &Path) -> Result<ProberConfig, ConfigError> {
    let refuse = Refuser { path };
    let admin = refuse.required(file.listen.admin, "listen.admin", COMMAND)?;
    let file::Prober { canary, peers } = refuse.required(file.prober, "prober", COMMAND)?;
    let address = |text: &str, key: &str| {
        let address = refuse.address(text, key)?;
        if address.port() == 0 {
            return Err(refuse.value(key, "0 is no port", "choose one, the same for every prober"));
        }
        Ok(address)
    };
    let config = ProberConfig {
        admin: address(&admin, "listen.admin")?,
        canary: address(&canary, "prober.canary")?,
        peers,
    };
    if config.canary.port() == config.admin.port() {
        let remedy = "choose a port that no policy lets through";
        return Err(refuse.value("prober.canary", "it is the port of listen.admin", remedy));
    }
    if config.peers.is_empty() {
        let remedy = "list a name that stands for all probers, or their addresses";
        return Err(refuse.value("prober.peers", "there is none", remedy));
    }
    if let Some(index) = config.peers.iter().position(|peer| !is_host(peer)) {
        let problem = format!("{:?} is neither a host name nor an address", config.peers[index]);
        let remedy = "write no port and no scheme: all probers listen on the same ports";
        return Err(refuse.value(&format!("prober.peers[{index}]"), problem, remedy));
    }
    Ok(config)
}

fn is_host(text: &str) -> bool {
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '.'))
    };
    text.parse::<IpAddr>().is_ok() || is_name(text)
}
