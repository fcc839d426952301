//! The way to the core: mutual TLS, and who this agent is by its own certificate.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_domain::AgentRef;
use openarchive_rpc::{Pace, ReloadingTls, RpcChannel, Target, TlsError, TlsFiles, connect};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tonic::{
    codegen::http::{Uri, uri::Scheme},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::config::CoreConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The port of an address that names none.
const HTTPS_PORT: u16 = 443;

/// Where the core is, and the files that say who it and this agent are (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreAddress {
    /// `https://HOST:PORT`
    pub url: String,
    /// Authority that signed the core's certificate.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{url:?} is no address of a core: write https://HOST:PORT")]
    Address { url: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the CA file {} does not work: {source}", .ca.display())]
    Authority { ca: PathBuf, source: tonic::transport::Error },
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
        }
    }

    /// A channel to every address of the core's name, which connects at once and again whenever it must. Reads files, and
    /// those that have changed again for each connection.
    ///
    /// Must be called within a tokio runtime; the rustls provider must have been installed.
    pub fn connect(&self) -> Result<RpcChannel, ConnectError> {
        let tls = ReloadingTls::load(&TlsFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: self.ca.clone(),
        })?;
        Ok(connect(&[self.target()?], tls, Pace::FAR))
    }

    /// For the one call that needs no certificate, because it gives one.
    pub(crate) fn connect_without_certificate(&self) -> Result<RpcChannel, ConnectError> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.target()?))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|source| ConnectError::Authority { ca: self.ca.clone(), source })?;
        Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy().into())
    }

    fn target(&self) -> Result<Target, ConnectError> {
        let bad = || ConnectError::Address { url: self.url.clone() };
        let uri: Uri = self.url.parse().map_err(|_| bad())?;
        let is_bare = uri.scheme() == Some(&Scheme::HTTPS) && uri.path() == "/" && uri.query().is_none();
        let host = uri.host().filter(|_| is_bare).ok_or_else(bad)?;
        format!("{host}:{}", uri.port_u16().unwrap_or(HTTPS_PORT)).parse().map_err(|_| bad())
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
    fn an_address_is_https_with_a_host_and_perhaps_a_port() {
        let target = |url: &str| {
            let none = PathBuf::new;
            let address = CoreAddress { url: url.to_owned(), ca: none(), certificate: none(), key: none() };
            address.target().map(|target| target.to_string()).map_err(|error| error.to_string())
        };
        let check = |url: &str, expected: &str| assert_eq!(target(url).as_deref(), Ok(expected), "{url}");
        check("https://ingest.example:9443", "ingest.example:9443");
        check("https://ingest.example/", "ingest.example:443");
        check("https://[::1]:7", "[::1]:7");
        check("https://10.0.0.7", "10.0.0.7:443");
        for bad in ["http://a:1", "a:1", "https://", "https://a:1/x", "https://a:0", "https://a:1/?q", ""] {
            let error = target(bad).unwrap_err();
            assert!(error.contains("write https://HOST:PORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = PathBuf::from("nowhere/ca.pem");
        let address = CoreAddress {
            url: "https://localhost:1".to_owned(),
            ca: path.clone(),
            certificate: path.clone(),
            key: path,
        };
        let error = address.connect().unwrap_err().to_string();
        assert!(error.contains("nowhere/ca.pem"), "{error}");
        assert!(matches!(address.agent(), Err(ConnectError::Read { .. })));
    }
}
