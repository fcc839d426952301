//! Whether one process lets another in: by the verifiers that rustls gives the services (webpki, aws-lc-rs), at any time.

use std::{sync::Arc, time::Duration};

use openarchive_domain::Timestamp;
use openarchive_operator_pki::{CA_CERTIFICATE, SecretData, TLS_CERTIFICATE};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

/// Whom somebody believes.
#[derive(Clone)]
pub(crate) struct Believed {
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// What somebody shows: its own certificate first.
#[derive(Clone)]
pub(crate) struct Shown(Vec<CertificateDer<'static>>);

impl Believed {
    pub(crate) fn of_pem(pem: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root.unwrap()).unwrap();
        }
        let roots = Arc::new(roots);
        let servers = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider());
        Self { servers: servers.build().unwrap(), clients: clients.build().unwrap() }
    }

    pub(crate) fn of_secret(secret: &SecretData) -> Self {
        Self::of_pem(&secret[CA_CERTIFICATE])
    }

    pub(crate) fn server(&self, shown: &Shown, name: &str, now: Timestamp) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        self.servers.verify_server_cert(&shown.0[0], &shown.0[1..], &name, &[], time(now)).map(|_| ())
    }

    pub(crate) fn client(&self, shown: &Shown, now: Timestamp) -> Result<(), rustls::Error> {
        self.clients.verify_client_cert(&shown.0[0], &shown.0[1..], time(now)).map(|_| ())
    }
}

impl Shown {
    pub(crate) fn of_pem(pem: &[u8]) -> Self {
        Self(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap())
    }

    pub(crate) fn of_secret(secret: &SecretData) -> Self {
        Self::of_pem(&secret[TLS_CERTIFICATE])
    }

    /// The first certificate without those behind it.
    pub(crate) fn alone(&self) -> Self {
        Self(vec![self.first()])
    }

    pub(crate) fn first(&self) -> CertificateDer<'static> {
        self.0[0].clone()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis().cast_unsigned()))
}
