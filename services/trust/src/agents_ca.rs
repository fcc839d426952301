//! The authority that signs agents' certificates.
//!
//! Architecture invariant: of a certificate request only the public key is used. Name, use and life of a certificate are
//! decided here.

mod request;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_domain::{AgentRef, Timestamp, random};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType, SerialNumber,
};
use x509_parser::{certificate::X509Certificate, pem::Pem, prelude::FromDer as _};

pub use request::{CSR_BYTES_MAX, CsrError, RSA_BITS_MIN};

/// Life of an agent's certificate, in days. It never outlives its authority.
pub const AGENT_CERTIFICATE_DAYS_MAX: u64 = 90;
/// How far back a certificate begins, so that a machine whose clock is a little behind does not refuse it.
const BACKDATED: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const SERIAL_BYTES: usize = 16;

/// Why agents' certificates cannot be signed with the files of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum AgentsCaError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no certificate of an authority (PEM, CA:TRUE); give the one that signs agents' certificates", .path.display())]
    NotAnAuthority { path: PathBuf },
    #[error("{} holds no private key (PEM, PKCS#8)", .path.display())]
    NotAKey { path: PathBuf },
    #[error("the key {} does not belong to {}; give the two that were made together", .key.display(), .certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// Why a certificate is not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error(transparent)]
    Request(#[from] CsrError),
    #[error("the authority that signs agents' certificates has ended: renew it")]
    AuthorityEnded,
    #[error("the certificate cannot be signed")]
    Sign(#[source] rcgen::Error),
}

/// The authority, ready to sign. Its Debug form shows nothing of the key.
pub struct AgentsCa {
    issuer: Issuer<'static, KeyPair>,
    /// What an agent shows behind its own certificate; empty where its authority is a root.
    intermediates: String,
    /// Seconds since 1970.
    not_after: u64,
}

impl fmt::Debug for AgentsCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentsCa").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

pub(crate) struct IssuedCertificate {
    /// PEM: the agent's own first, then its issuer's unless that is a root.
    pub(crate) chain: String,
    /// Lowercase hex.
    pub(crate) serial: String,
    pub(crate) not_after: Timestamp,
}

impl AgentsCa {
    /// Reads PEM files: the authority's certificate first, then those above it, if any.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, AgentsCaError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| AgentsCaError::Read { path: path.to_owned(), source })
        };
        let (text, secret) = (read(certificate)?, read(key)?);
        let no_authority = || AgentsCaError::NotAnAuthority { path: certificate.to_owned() };
        let all = Pem::iter_from_buffer(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|_| no_authority())?;
        let own = all.first().ok_or_else(no_authority)?;
        let (_, parsed) = X509Certificate::from_der(&own.contents).map_err(|_| no_authority())?;
        if !parsed.is_ca() {
            return Err(no_authority());
        }
        let pair = KeyPair::from_pem(&secret).map_err(|_| AgentsCaError::NotAKey { path: key.to_owned() })?;
        if pair.subject_public_key_info() != parsed.public_key().raw {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            return Err(AgentsCaError::Mismatch { certificate, key });
        }
        let is_root = parsed.issuer() == parsed.subject();
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let issuer = Issuer::from_ca_cert_der(&own.contents.as_slice().into(), pair);
        let issuer = issuer.map_err(|_| no_authority())?;
        Ok(Self { issuer, intermediates: if is_root { String::new() } else { text }, not_after })
    }

    /// A certificate for `agent` and the key of the request (PKCS#10, DER), whose own wishes are passed over.
    pub(crate) fn issue(
        &self,
        domain: &str,
        agent: &AgentRef,
        csr: &[u8],
        now: Timestamp,
    ) -> Result<IssuedCertificate, IssueError> {
        let key = request::public_key(csr)?;
        let now = Duration::from_millis(now.as_millis().max(0).cast_unsigned());
        let end = (now + DAY * u32::try_from(AGENT_CERTIFICATE_DAYS_MAX).unwrap_or(u32::MAX)).as_secs();
        let end = end.min(self.not_after);
        if end <= now.as_secs() {
            return Err(IssueError::AuthorityEnded);
        }
        let uri = format!("spiffe://{domain}/tenant/{}/edge/{}", agent.tenant, agent.name);
        let serial = serial();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, agent.to_string());
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().map_err(IssueError::Sign)?)];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED).as_secs());
        params.not_after = epoch + Duration::from_secs(end);
        let own = params.signed_by(&key, &self.issuer).map_err(IssueError::Sign)?;
        Ok(IssuedCertificate {
            chain: own.pem() + &self.intermediates,
            serial: hex::encode(serial),
            not_after: Timestamp::from_millis(end.cast_signed().saturating_mul(1000)),
        })
    }
}

/// The key of a request (SubjectPublicKeyInfo, DER) if it would be certified: for the crate that fuzzes this.
#[doc(hidden)]
pub fn certified_key(csr: &[u8]) -> Result<Vec<u8>, CsrError> {
    Ok(request::public_key(csr)?.subject_public_key_info())
}

/// Random, positive, and without a leading zero byte, so that it has one text (RFC 5280 section 4.1.2.2).
fn serial() -> [u8; SERIAL_BYTES] {
    let mut serial = random::bytes::<SERIAL_BYTES>();
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    serial
}
