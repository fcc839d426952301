//! The way to the core over mutual TLS, with certificates like those of `openarchive agent add`.

use std::{fs, path::Path};

use openarchive_edge::sync::CoreAddress;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::{
    service::SharedArchive,
    site::{Site, plain_mail, wait_until},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn sign(&self, names: &[&str], uris: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server_tls(&self) -> ServerTlsConfig {
        let (certificate, key) = self.sign(&["localhost", "127.0.0.1"], &[]);
        ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(self.0.pem()))
    }
}

/// Files of an agent whose certificate is signed by `signer` and who trusts `trusted`.
fn agent_files(folder: &Path, signer: &Authority, trusted: &Authority, url: String) -> CoreAddress {
    let (certificate, key) = signer.sign(&[], &["spiffe://archive.test/tenant/acme/edge/mx1"]);
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    CoreAddress {
        url,
        ca: write("ca.pem", &trusted.0.pem()),
        certificate: write("agent.pem", &certificate),
        key: write("agent.key", &key),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_files_of_agent_add_mail_is_archived_and_with_foreign_ones_it_waits() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let archive = SharedArchive::new();
    let serving = archive.serve_over("acme/mx1", 0, Some(ours.server_tls()));
    let url = format!("https://{}", serving.address);
    let mut site = Site::new("acme/mx1");
    site.accept(&plain_mail(0)).await;

    for (signer, trusted) in [(&foreign, &ours), (&ours, &foreign)] {
        let address = agent_files(folder.path(), signer, trusted, url.clone());
        site.sync(address.connect().unwrap()).await;
        wait_until("a call has failed", async || site.monitor().stats().failures > 1).await;
        assert_eq!(site.pending().await.len(), 1);
        assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
    }

    let address = agent_files(folder.path(), &ours, &ours, url.clone());
    assert_eq!(address.agent().unwrap().to_string(), "acme/mx1");
    site.sync(address.connect().unwrap()).await;
    site.wait_until_drained().await;
    // By name instead of address.
    let address = CoreAddress { url: format!("https://localhost:{}", serving.address.port()), ..address };
    site.sync(address.connect().unwrap()).await;
    site.accept(&plain_mail(1)).await;
    site.wait_until_drained().await;
}
