//! Certificates that change while the process runs.
//!
//! Architecture invariant: a reload touches no connection that stands; each new one takes what the files say, and files
//! that do not go together change nothing.

#[cfg(test)]
pub(crate) mod fixture;
mod pem;
mod reloading;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
};

use self::{pem::Pem, reloading::Reloading};

pub use self::pem::TLS_FILE_BYTES_MAX;
pub use self::reloading::TLS_CHECK_SECONDS;

/// What gRPC's HTTP/2 is called within TLS (RFC 7301).
const ALPN_GRPC: &[u8] = b"h2";
/// What REST's HTTP is called within TLS (RFC 7301).
const ALPN_REST: &[u8] = b"http/1.1";

/// Who a process is, and whom it believes. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its own certificate first, then those of its issuers.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Every authority whose certificates are believed: several while one is exchanged for another.
    pub authorities: PathBuf,
}

/// Whether a server lets in a client that shows no certificate. One that shows a wrong one never gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    Required,
    /// For what an agent calls before it has a certificate; each call is authorised by itself.
    Optional,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {what} {} cannot be read: {source}; give a PEM file that this process may read", .path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the {what} {} is longer than {TLS_FILE_BYTES_MAX} bytes; is it the right file?", .path.display())]
    TooLong { what: &'static str, path: PathBuf },
    /// Names nothing of what is in the file: it may be a key.
    #[error(
        "the {what} {} holds no {expected} in PEM (-----BEGIN ...), or a damaged one; write it again",
        .path.display()
    )]
    NotPem { what: &'static str, path: PathBuf, expected: &'static str },
    #[error(
        "the key {} does not belong to the first certificate of {}; give the two that were issued together",
        .key.display(), .certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the {what} {} cannot be used: {source}", .path.display())]
    Refused { what: &'static str, path: PathBuf, source: rustls::Error },
    #[error("no client can be verified with the authorities {}: {source}", .path.display())]
    Authorities { path: PathBuf, source: VerifierBuilderError },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Mutual TLS of one process, as server and as client, from files that are read again when they have changed.
///
/// Files that cannot be used (half written, key and certificate of different issues) are warned about once; the earlier
/// ones stay in use.
pub struct ReloadingTls(Reloading<Mutual>);

struct Mutual {
    required: Arc<ServerConfig>,
    optional: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl ReloadingTls {
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let sources = vec![
            (CERTIFICATE, files.certificate.clone()),
            (KEY, files.key.clone()),
            (AUTHORITIES, files.authorities.clone()),
        ];
        Ok(Arc::new(Self(Reloading::load(sources, mutual)?)))
    }

    /// For the next connection: looks at the files if that was not done within [`TLS_CHECK_SECONDS`].
    pub fn server_config(&self, clients: ClientCertificates) -> Arc<ServerConfig> {
        let current = self.0.current();
        match clients {
            ClientCertificates::Required => current.required.clone(),
            ClientCertificates::Optional => current.optional.clone(),
        }
    }

    /// For the next connection, like [`Self::server_config`]. Servers are believed by DNS name or IP address.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.0.current().client.clone()
    }
}

/// TLS of a server that asks nobody for a certificate (REST, SMTP), from files that are read again like those of
/// [`ReloadingTls`].
pub struct ReloadingCertificate(Reloading<Arc<ServerConfig>>);

impl ReloadingCertificate {
    /// Of REST: HTTP/1.1 only.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let sources = vec![(CERTIFICATE, certificate.to_owned()), (KEY, key.to_owned())];
        Ok(Arc::new(Self(Reloading::load(sources, |files| anonymous(files, &[ALPN_REST]))?)))
    }

    /// Of SMTP, which names no protocol within TLS.
    pub fn load_for_mail(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let sources = vec![(CERTIFICATE, certificate.to_owned()), (KEY, key.to_owned())];
        Ok(Arc::new(Self(Reloading::load(sources, |files| anonymous(files, &[]))?)))
    }

    /// For the next connection, like [`ReloadingTls::server_config`].
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.0.current().as_ref().clone()
    }
}

const CERTIFICATE: &str = "certificate file";
const KEY: &str = "key file";
const AUTHORITIES: &str = "authorities file";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn mutual(files: &[Pem]) -> Result<Mutual, TlsError> {
    let [certificate, key, authorities] = files else { return Err(miscounted()) };
    let mut roots = RootCertStore::empty();
    for authority in authorities.certificates()? {
        roots.add(authority).map_err(|source| authorities.refused(source))?;
    }
    let roots = Arc::new(roots);
    let verifier = || WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    let bad = |source| TlsError::Authorities { path: authorities.path.clone(), source };
    let required = verifier().build().map_err(bad)?;
    let optional = verifier().allow_unauthenticated().build().map_err(bad)?;
    let server = |verifier| {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(verifier);
        let config = builder.with_single_cert(certificate.certificates()?, key.key()?);
        Ok::<_, TlsError>(Arc::new(tuned(
            config.map_err(|error| pair_error(certificate, key, error))?,
            &[ALPN_GRPC],
        )))
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots.clone());
    let client = builder.with_client_auth_cert(certificate.certificates()?, key.key()?);
    let mut client = client.map_err(|error| pair_error(certificate, key, error))?;
    client.alpn_protocols = vec![ALPN_GRPC.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Mutual { required: server(required)?, optional: server(optional)?, client: Arc::new(client) })
}

fn anonymous(files: &[Pem], alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let [certificate, key] = files else { return Err(miscounted()) };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_no_client_auth()
        .with_single_cert(certificate.certificates()?, key.key()?)
        .map_err(|error| pair_error(certificate, key, error))?;
    Ok(Arc::new(tuned(config, alpn)))
}

/// A resumed session would skip the check of the client's certificate, which may have expired since; connections live
/// long, so it would gain nothing.
fn tuned(mut config: ServerConfig, alpn: &[&[u8]]) -> ServerConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn pair_error(certificate: &Pem, key: &Pem, error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: certificate.path.clone(), key: key.path.clone() }
        }
        // What the key's own decoder says comes as a general error.
        source @ rustls::Error::General(_) => key.refused(source),
        source => certificate.refused(source),
    }
}

fn miscounted() -> TlsError {
    TlsError::Setup(rustls::Error::General("not the files that were asked for".to_owned()))
}
