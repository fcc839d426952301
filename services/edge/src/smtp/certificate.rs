//! The listener's certificate for STARTTLS: a given one, or one of its own.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use openarchive_rpc::{ReloadingCertificate, TlsError};

use crate::config::CertificateSource;

/// Names of the self-signed pair in the data folder.
pub const SELF_SIGNED_CERTIFICATE: &str = "starttls-self-signed.pem";
pub const SELF_SIGNED_KEY: &str = "starttls-self-signed.key";

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Unusable(#[from] TlsError),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a self-signed certificate for {hostname:?}: {source}; give hostname a DNS name")]
    SelfSigned { hostname: String, source: rcgen::Error },
}

/// What the next session is shown. Files that change are read again; a pair that cannot be used is warned about, and the
/// one before it stays. Sessions keep no state for resumption: mail servers hardly use it, and it is memory per session.
pub fn load(
    source: &CertificateSource,
    data_dir: &Path,
    hostname: &str,
) -> Result<Arc<ReloadingCertificate>, CertificateError> {
    let (certificate, key) = match source {
        CertificateSource::Given { certificate, key } => (certificate.clone(), key.clone()),
        CertificateSource::SelfSigned => self_signed(data_dir, hostname)?,
    };
    Ok(ReloadingCertificate::load_for_mail(&certificate, &key)?)
}

/// Made once and kept, so that a mail server may pin it.
fn self_signed(data_dir: &Path, hostname: &str) -> Result<(PathBuf, PathBuf), CertificateError> {
    let (certificate, key) = (data_dir.join(SELF_SIGNED_CERTIFICATE), data_dir.join(SELF_SIGNED_KEY));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let made = rcgen::generate_simple_self_signed(vec![hostname.to_owned()])
        .map_err(|source| CertificateError::SelfSigned { hostname: hostname.to_owned(), source })?;
    // The certificate last: both are there when it is.
    write_private(&key, &made.signing_key.serialize_pem())?;
    write_private(&certificate, &made.cert.pem())?;
    Ok((certificate, key))
}

fn write_private(path: &Path, text: &str) -> Result<(), CertificateError> {
    let temporary = path.with_extension("new");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| CertificateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn without_a_certificate_one_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        load(&CertificateSource::SelfSigned, folder.path(), "edge.test").unwrap();
        let first = fs::read(folder.path().join(SELF_SIGNED_CERTIFICATE)).unwrap();
        load(&CertificateSource::SelfSigned, folder.path(), "edge.test").unwrap();
        assert_eq!(fs::read(folder.path().join(SELF_SIGNED_CERTIFICATE)).unwrap(), first);
        let mode = fs::metadata(folder.path().join(SELF_SIGNED_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_given_certificate_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.crt");
        let source = CertificateSource::Given { certificate: path.clone(), key: path.clone() };
        let error = load(&source, folder.path(), "edge.test").err().unwrap().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        fs::write(&path, "nothing").unwrap();
        let error = load(&source, folder.path(), "edge.test").err().unwrap().to_string();
        assert!(error.contains("holds no certificate in PEM"), "{error}");
    }
}
