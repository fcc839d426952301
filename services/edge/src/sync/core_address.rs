//! The way to the core: mutual TLS, and who this agent is by its own certificate.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_domain::AgentRef;
use openarchive_rpc::RpcChannel;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::config::CoreConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing moves is tried this often, and given up after [`KEEP_ALIVE_TIMEOUT`].
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Flow-control windows: what may be on its way to a far core, for each stream and for all.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Where the core is, and the files that say who it and this agent are (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreAddress {
    /// `https://HOST:PORT`
    pub url: String,
    /// Authority that signed the core's certificate.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The name in the core's certificate, where it is not the host of `url`.
    pub server_name: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{url:?} is no address of a core, or the TLS files do not work: {source}; write https://HOST:PORT"
    )]
    Endpoint { url: String, source: tonic::transport::Error },
    #[error(
        "{} is not the certificate of an agent (one URI spiffe://DOMAIN/tenant/TENANT/edge/NAME); use the one that \
         `openarchive agent add` wrote",
        .path.display()
    )]
    NotAnAgent { path: PathBuf },
}

impl CoreAddress {
    pub fn of(core: &CoreConfig) -> Self {
        Self {
            url: core.address.clone(),
            ca: core.ca.clone(),
            certificate: core.certificate.clone(),
            key: core.key.clone(),
            server_name: None,
        }
    }

    /// A channel that connects when it is first used, and again whenever it must. Reads files: call it at start.
    ///
    /// Must be called within a tokio runtime; the rustls provider must have been installed.
    pub fn connect(&self) -> Result<RpcChannel, ConnectError> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        self.connect_with(self.tls()?.identity(identity))
    }

    /// For the one call that needs no certificate, because it gives one.
    pub(crate) fn connect_without_certificate(&self) -> Result<RpcChannel, ConnectError> {
        self.connect_with(self.tls()?)
    }

    fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?)))
    }

    fn connect_with(&self, mut tls: ClientTlsConfig) -> Result<RpcChannel, ConnectError> {
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        let endpoint = Endpoint::from_shared(self.url.clone()).and_then(|endpoint| endpoint.tls_config(tls));
        let endpoint = endpoint.map_err(|source| ConnectError::Endpoint { url: self.url.clone(), source })?;
        Ok(tuned(endpoint).connect_lazy().into())
    }

    /// Tenant and name of this agent, from its own certificate: the same that the core reads there.
    pub fn agent(&self) -> Result<AgentRef, ConnectError> {
        let pem = read(&self.certificate)?;
        let not_an_agent = || ConnectError::NotAnAgent { path: self.certificate.clone() };
        // The first is the agent's own; the others are its issuers.
        let own = CertificateDer::from_pem_slice(&pem).map_err(|_| not_an_agent())?;
        agent_of_certificate(&own).ok_or_else(not_an_agent)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|source| ConnectError::Read { path: path.to_owned(), source })
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Whom a certificate (DER) names, whatever the trust domain.
pub(crate) fn agent_of_certificate(der: &[u8]) -> Option<AgentRef> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else { return None };
    let (_domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let (tenant, name) = path.strip_prefix("tenant/")?.split_once("/edge/")?;
    Some(AgentRef { tenant: tenant.parse().ok()?, name: name.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn an_agent_is_whom_the_one_uri_of_its_certificate_names() {
        let check = |uris: &[&str], expected: Option<&str>| {
            let agent = agent_of_certificate(&certificate(uris));
            assert_eq!(agent.map(|agent| agent.to_string()).as_deref(), expected, "{uris:?}");
        };
        let agent = "spiffe://archive.test/tenant/acme/edge/mx1";
        check(&[agent], Some("acme/mx1"));
        check(&[], None);
        check(&[agent, agent], None);
        check(&["spiffe://archive.test/service/ingest"], None);
        check(&["spiffe://archive.test/tenant/acme/edge/mx1/more"], None);
        check(&["https://archive.test/tenant/acme/edge/mx1"], None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = PathBuf::from("nowhere/ca.pem");
        let address = CoreAddress {
            url: "https://localhost:1".to_owned(),
            ca: path.clone(),
            certificate: path.clone(),
            key: path,
            server_name: None,
        };
        let error = address.connect().unwrap_err().to_string();
        assert!(error.contains("nowhere/ca.pem"), "{error}");
        assert!(matches!(address.agent(), Err(ConnectError::Read { .. })));
    }
}
