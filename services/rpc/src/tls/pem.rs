//! One file of PEM, and what is in it.

use std::{fs::File, io::Read as _, path::PathBuf};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::TlsError;

/// Longest file of certificates or of a key, in bytes: more than all authorities that browsers know.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Contents of one file. Not `Debug`: it may be a key.
pub(super) struct Pem {
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Pem {
    pub(super) fn read(what: &'static str, path: PathBuf) -> Result<Self, TlsError> {
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Err(source) => Err(TlsError::Read { what, path, source }),
            Ok(length) if length as u64 > TLS_FILE_BYTES_MAX => Err(TlsError::TooLong { what, path }),
            Ok(_) => Ok(Self { what, path, bytes }),
        }
    }

    /// At least one, in the file's order.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let all = CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            _ => Err(self.not_pem("certificate")),
        }
    }

    /// The first one: PKCS#8, PKCS#1 or SEC1.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|_| self.not_pem("private key"))
    }

    pub(super) fn refused(&self, source: rustls::Error) -> TlsError {
        TlsError::Refused { what: self.what, path: self.path.clone(), source }
    }

    fn not_pem(&self, expected: &'static str) -> TlsError {
        TlsError::NotPem { what: self.what, path: self.path.clone(), expected }
    }
}
