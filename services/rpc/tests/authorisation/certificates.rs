//! Everybody who may knock: authorities and certificates of a test's own.

use std::{fs, sync::Arc};

use openarchive_rpc::{ReloadingTls, Role, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

pub(crate) const DOMAIN: &str = "archive.test";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Ingest,
    Storage,
    Index,
    Trust,
    Gateway,
    Worker,
    Operator,
    Agent,
    OtherTenantsAgent,
    /// Issued by this archive's authority, for another trust domain.
    ForeignDomainsAgent,
    ForeignDomainsGateway,
    /// `spiffe://archive.test/service/nothing`.
    UnknownService,
    /// A certificate with the names of a gateway and of an agent.
    TwiceNamed,
    ExpiredAgent,
    ExpiredGateway,
    SelfSignedAgent,
    SelfSignedGateway,
    /// Issued by an authority that nobody here believes.
    OtherAuthoritysAgent,
    WithoutCertificate,
}

impl Who {
    pub(crate) const SERVICES: [(Self, Role); 7] = [
        (Self::Ingest, Role::Ingest),
        (Self::Storage, Role::Storage),
        (Self::Index, Role::Index),
        (Self::Trust, Role::Trust),
        (Self::Gateway, Role::Gateway),
        (Self::Worker, Role::Worker),
        (Self::Operator, Role::Operator),
    ];

    pub(crate) const ALL: [Self; 19] = [
        Self::Ingest,
        Self::Storage,
        Self::Index,
        Self::Trust,
        Self::Gateway,
        Self::Worker,
        Self::Operator,
        Self::Agent,
        Self::OtherTenantsAgent,
        Self::ForeignDomainsAgent,
        Self::ForeignDomainsGateway,
        Self::UnknownService,
        Self::TwiceNamed,
        Self::ExpiredAgent,
        Self::ExpiredGateway,
        Self::SelfSignedAgent,
        Self::SelfSignedGateway,
        Self::OtherAuthoritysAgent,
        Self::WithoutCertificate,
    ];

    fn uris(self) -> &'static [&'static str] {
        const GATEWAY: &str = "spiffe://archive.test/service/gateway";
        const AGENT: &str = "spiffe://archive.test/tenant/acme/edge/mx1";
        match self {
            Self::Ingest => &["spiffe://archive.test/service/ingest"],
            Self::Storage => &["spiffe://archive.test/service/storage"],
            Self::Index => &["spiffe://archive.test/service/index"],
            Self::Trust => &["spiffe://archive.test/service/trust"],
            Self::Gateway | Self::ExpiredGateway | Self::SelfSignedGateway => &[GATEWAY],
            Self::Worker => &["spiffe://archive.test/service/worker"],
            Self::Operator => &["spiffe://archive.test/service/operator"],
            Self::Agent | Self::ExpiredAgent | Self::SelfSignedAgent | Self::OtherAuthoritysAgent => &[AGENT],
            Self::OtherTenantsAgent => &["spiffe://archive.test/tenant/other/edge/mx1"],
            Self::ForeignDomainsAgent => &["spiffe://elsewhere.test/tenant/acme/edge/mx1"],
            Self::ForeignDomainsGateway => &["spiffe://elsewhere.test/service/gateway"],
            Self::UnknownService => &["spiffe://archive.test/service/nothing"],
            Self::TwiceNamed => &[GATEWAY, AGENT],
            Self::WithoutCertificate => &[],
        }
    }
}

/// What a caller shows, and what a handler must see of it.
pub(crate) struct Credentials {
    /// `None`: shows no certificate.
    pub(crate) tls: Option<Arc<ReloadingTls>>,
    pub(crate) seen: String,
    _folder: TempDir,
}

/// This archive's authority, and one that nobody here believes.
pub(crate) struct Pki {
    ours: CertifiedIssuer<'static, KeyPair>,
    strangers: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self { ours: authority("ours"), strangers: authority("strangers") }
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.ours.as_ref().pem()
    }

    pub(crate) fn credentials(&self, who: Who) -> Credentials {
        let folder = tempfile::tempdir().unwrap();
        let tls = (who != Who::WithoutCertificate).then(|| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = uris(who.uris());
            // Its leading zero byte is only the sign.
            params.serial_number = Some(SerialNumber::from_slice(&[0x00, 0xc0, 0x0a, who as u8]));
            params.not_after = match who {
                Who::ExpiredAgent | Who::ExpiredGateway => date_time_ymd(2021, 1, 1),
                _ => date_time_ymd(2099, 1, 1),
            };
            self.files(&folder, who, &params)
        });
        let seen = match who {
            Who::Agent => format!("acme/mx1 c00a{:02x} 4070908800", who as u8),
            Who::OtherTenantsAgent => format!("other/mx1 c00a{:02x} 4070908800", who as u8),
            service => format!("{service:?}"),
        };
        Credentials { tls, seen, _folder: folder }
    }

    /// For a server on this machine.
    pub(crate) fn server(&self) -> (Arc<ReloadingTls>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (self.files(&folder, Who::Ingest, &params), folder)
    }

    fn files(&self, folder: &TempDir, who: Who, params: &CertificateParams) -> Arc<ReloadingTls> {
        let key = KeyPair::generate().unwrap();
        let certificate = match who {
            Who::SelfSignedAgent | Who::SelfSignedGateway => params.self_signed(&key),
            Who::OtherAuthoritysAgent => params.signed_by(&key, &self.strangers),
            _ => params.signed_by(&key, &self.ours),
        };
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        ReloadingTls::load(&TlsFiles {
            certificate: write("tls.crt", &certificate.unwrap().pem()),
            key: write("tls.key", &key.serialize_pem()),
            authorities: write("ca.crt", &self.authority_pem()),
        })
        .unwrap()
    }
}

fn uris(uris: &[&str]) -> Vec<SanType> {
    uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect()
}
