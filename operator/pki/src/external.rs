//! What an agent outside the cluster begins with.
//!
//! The Secret's keys are files. Written into one folder as they are, `openarchive-edge enrol --config agent.yaml --token-file
//! token` gets the agent's certificate, and `openarchive-edge run --config agent.yaml` runs it:
//!
//! | key | |
//! |---|---|
//! | `agent.yaml` | a whole configuration; its one listener takes mail from this machine only, for a person to change |
//! | `ca.pem` | every authority by which ingest may show itself |
//! | `log.policy` | C2SP tlog-policy: keys of the tenant's logs, by which receipts are checked |
//! | `token` | lets one agent in, once; secret |

use openarchive_domain::AgentRef;
use openarchive_ledger::{
    origin::{LogId, Origin, TenantOrArchive},
    policy::Policy,
};

use crate::{SecretData, leaf::LeafSpec};

/// Longest one-time token, in bytes: what an agent reads.
pub const ENROLMENT_TOKEN_BYTES_MAX: usize = 1024;

/// Why there is no bundle that would work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error(
        "{0:?} is not among the DNS names of ingest's certificate: an agent would refuse it; name it in \
         exposure.ingest.hostnames"
    )]
    UnknownHost(String),
    #[error("port 0 cannot be reached; give the one that ingest is exposed at")]
    NoPort,
    #[error("the log policy cannot be read as a C2SP tlog-policy; take the one that trust gives")]
    LogPolicy,
    #[error(
        "the log policy names no evidence log of tenant {0}: no receipt would pass; take the tenant's own"
    )]
    NoLog(String),
    #[error("the log policy demands witnesses, which agents cannot check yet; give one with `quorum none`")]
    Witnesses,
    #[error(
        "the one-time token is empty, longer than {ENROLMENT_TOKEN_BYTES_MAX} bytes or no single word; have another \
         one made"
    )]
    Token,
}

/// Where an agent finds its archive, and what it checks it by.
#[derive(Clone, Copy)]
pub struct ExternalAgent<'a> {
    pub agent: &'a AgentRef,
    /// A DNS name of `ingest`, as the agent's network knows it.
    pub host: &'a str,
    pub port: u16,
    pub ingest: &'a LeafSpec,
    /// C2SP tlog-policy.
    pub log_policy: &'a [u8],
    /// As ingest's `CreateEnrolment` answered. It goes nowhere but into the Secret.
    pub token: &'a str,
    /// PEM: every authority by which ingest may show itself. During an exchange the next one is among them already.
    pub authorities: &'a [u8],
}

/// Data of the Secret, as the module says.
pub fn external_bundle(agent: &ExternalAgent<'_>) -> Result<SecretData, BundleError> {
    let host = agent.host.to_ascii_lowercase();
    if !agent.ingest.dns_names().any(|name| name == host) {
        return Err(BundleError::UnknownHost(agent.host.to_owned()));
    }
    if agent.port == 0 {
        return Err(BundleError::NoPort);
    }
    check_policy(agent)?;
    let is_word = agent.token.bytes().all(|byte| byte.is_ascii_graphic());
    if agent.token.is_empty() || agent.token.len() > ENROLMENT_TOKEN_BYTES_MAX || !is_word {
        return Err(BundleError::Token);
    }
    Ok(SecretData::from([
        ("agent.yaml".to_owned(), configuration(&host, agent.port).into_bytes()),
        ("ca.pem".to_owned(), agent.authorities.to_vec()),
        ("log.policy".to_owned(), agent.log_policy.to_vec()),
        ("token".to_owned(), format!("{}\n", agent.token).into_bytes()),
    ]))
}

/// The agent refuses what fails here.
fn check_policy(agent: &ExternalAgent<'_>) -> Result<(), BundleError> {
    let policy = Policy::parse(agent.log_policy).map_err(|_| BundleError::LogPolicy)?;
    if policy.needs_witnesses() {
        return Err(BundleError::Witnesses);
    }
    let tenant = &agent.agent.tenant;
    let owner = TenantOrArchive::from(tenant.clone());
    let is_its_own =
        |origin: &Origin| *origin.log().owner() == owner && origin.log().stream() == LogId::EVIDENCE;
    let mut origins = policy.logs().iter().filter_map(|key| key.name().parse::<Origin>().ok());
    if origins.any(|origin| is_its_own(&origin)) {
        Ok(())
    } else {
        Err(BundleError::NoLog(tenant.to_string()))
    }
}

/// `host` is a DNS name: nothing in it needs quotes in YAML but what could be a number.
fn configuration(host: &str, port: u16) -> String {
    format!(
        "dataDir: /var/lib/openarchive-edge
core:
  address: \"https://{host}:{port}\"
  ca: ca.pem
  certificate: agent.pem            # `openarchive-edge enrol` writes it, and the key
  key: agent.key
  logPolicy: log.policy
listeners:
  - name: journal
    address: 127.0.0.1              # change it, and the peers, to let your mail server in
    port: 2525
    peers:
      - cidrs: [127.0.0.1/32]
        journalMode: plain
"
    )
}
