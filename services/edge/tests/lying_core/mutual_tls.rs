//! The way to the core over mutual TLS, with certificates like those of `openarchive agent add`.

use std::{fs, path::Path};

use openarchive_edge::sync::CoreAddress;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::{
    service::SharedArchive,
    site::{Site, plain_mail, wait_until},
};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn server_tls(&self) -> ServerTlsConfig {
        self.server_tls_for_agents_of(self)
    }

    /// Of a core whose certificate another authority has signed than its agents'.
    fn server_tls_for_agents_of(&self, agents: &Self) -> ServerTlsConfig {
        let (certificate, key) = self.sign(&["localhost", "127.0.0.1"], &[]);
        ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(agents.0.pem()))
    }
}

/// Files of an agent whose certificate is signed by `signer` and who trusts `trusted`.
pub(crate) fn agent_files(
    folder: &Path,
    signer: &Authority,
    trusted: &Authority,
    url: String,
) -> CoreAddress {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_core_with_another_authority_is_believed_once_the_file_says_so_without_a_restart() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Authority::new(), Authority::new());
    let archive = SharedArchive::new();
    let serving = archive.serve_over("acme/mx1", 0, Some(before.server_tls()));
    let address =
        agent_files(folder.path(), &before, &before, format!("https://localhost:{}", serving.address.port()));
    let mut site = Site::new("acme/mx1");
    site.sync(address.connect().unwrap()).await;
    site.accept(&plain_mail(0)).await;
    site.wait_until_drained().await;

    let port = serving.address.port();
    drop(serving);
    let _serving = archive.serve_over("acme/mx1", port, Some(after.server_tls_for_agents_of(&before)));
    site.accept(&plain_mail(1)).await;
    let failed = site.monitor().stats().failures;
    wait_until("the core is not believed", async || site.monitor().stats().failures > failed + 1).await;
    assert_eq!(site.pending().await.len(), 1);
    // As an authority is exchanged: both are believed for a while, then the new one alone.
    fs::write(&address.ca, before.0.pem() + &after.0.pem()).unwrap();
    site.wait_until_drained().await;
    fs::write(&address.ca, after.0.pem()).unwrap();
    site.accept(&plain_mail(2)).await;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted(), (3, 3));
}
