//! A listener's certificate that changes while the agent runs, as Kubernetes changes a mounted Secret.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use openarchive_edge::config::CertificateSource;
use openarchive_rpc::TLS_CHECK_SECONDS;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::{agent::Edge, binary::wait_for, client::HOSTNAME};

struct Pair {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

/// A mounted Secret: each file is a link through `..data`, which is exchanged as a whole.
struct Secret {
    folder: TempDir,
    versions: u32,
}

impl Secret {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
        }
        Self { folder, versions: 0 }
    }

    fn mount(&mut self, certificate: &str, key: &str) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let (files, link) = (self.folder.path().join(&version), self.folder.path().join("..data_tmp"));
        fs::create_dir(&files).unwrap();
        fs::write(files.join("tls.crt"), certificate).unwrap();
        fs::write(files.join("tls.key"), key).unwrap();
        symlink(&version, &link).unwrap();
        fs::rename(&link, self.folder.path().join("..data")).unwrap();
    }
}

#[test]
fn sessions_after_a_swap_see_the_new_certificate_and_a_broken_pair_changes_nothing() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![HOSTNAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    };
    let (first, second, third) = (issue(), issue(), issue());
    let mut secret = Secret::new();
    secret.mount(&first.certificate, &first.key);
    let file = |name: &str| secret.folder.path().join(name);
    let given = CertificateSource::Given { certificate: file("tls.crt"), key: file("tls.key") };
    let edge = Edge::start(|config| config.listeners[0].certificate = given);
    let root = authority.as_ref().der().clone();
    let shown = || edge.client().start_tls_with(&root);

    let (mut early, certificate) = shown();
    assert_eq!(certificate, first.der);
    secret.mount(&second.certificate, &second.key);
    wait_for("the second certificate", || (shown().1 == second.der).then_some(()));
    assert!(early.mail(b"x\r\n").starts_with("250"), "a session that stands is not touched");

    // Certificate and key of different issues, then none at all: for longer than it takes to look.
    for (certificate, key) in [(&third.certificate, &second.key), (&String::new(), &third.key)] {
        secret.mount(certificate, key);
        let end = Instant::now() + Duration::from_secs(TLS_CHECK_SECONDS) + Duration::from_millis(200);
        while Instant::now() < end {
            assert_eq!(shown().1, second.der);
        }
    }
    secret.mount(&third.certificate, &third.key);
    wait_for("the third certificate", || (shown().1 == third.der).then_some(()));
}
