//! Authorities and certificates of a test's own.

use std::{fs, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{ReloadingTls, TlsFiles};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// For this machine under several names.
    pub(crate) fn issue(&self, serial: u8) -> Issued {
        self.issue_for(&["localhost", "replicas.test", "127.0.0.1", "127.0.0.2"], serial)
    }

    pub(crate) fn issue_for(&self, names: &[&str], serial: u8) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params
            .subject_alt_names
            .push(SanType::URI("spiffe://archive.test/service/storage".try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder with the files of one process.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(issued: &Issued, authorities: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(issued);
        fs::write(folder.files().authorities, authorities).unwrap();
        folder
    }

    /// Certificate first, then key: between the two they do not go together.
    pub(crate) fn write(&self, issued: &Issued) {
        fs::write(self.files().certificate, &issued.certificate).unwrap();
        fs::write(self.files().key, &issued.key).unwrap();
    }

    pub(crate) fn files(&self) -> TlsFiles {
        let file = |name| self.0.path().join(name);
        TlsFiles { certificate: file("tls.crt"), key: file("tls.key"), authorities: file("ca.crt") }
    }

    pub(crate) fn load(&self) -> Arc<ReloadingTls> {
        ReloadingTls::load(&self.files()).unwrap()
    }
}

/// Files of one process that `authority` issued, loaded.
pub(crate) fn loaded(authority: &Authority, serial: u8) -> Arc<ReloadingTls> {
    Folder::new(&authority.issue(serial), &authority.pem()).load()
}

pub(crate) fn serial_of(certificate: &CertificateDer<'_>) -> u8 {
    *X509Certificate::from_der(certificate).unwrap().1.raw_serial().last().unwrap()
}
