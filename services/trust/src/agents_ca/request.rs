//! What is taken out of a certificate request: its key, if it is one that we certify and the sender has it.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer as _, public_key::PublicKey,
};

/// Longest certificate request (PKCS#10, DER), in bytes: several times one with an RSA key of 8,192 bits.
pub const CSR_BYTES_MAX: usize = 16 * 1024;
/// Shortest RSA key that is certified, in bits (NIST SP 800-57).
pub const RSA_BITS_MIN: usize = 2048;

const ED25519: &str = "1.3.101.112";
const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC_CURVE: &str = "1.2.840.10045.2.1";
/// P-256 and P-384 (RFC 5480 section 2.1.1.1).
const CURVES: [&str; 2] = ["1.2.840.10045.3.1.7", "1.3.132.0.34"];

/// What is wrong with a certificate request. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("the certificate request is longer than {CSR_BYTES_MAX} bytes")]
    TooLong,
    #[error("the certificate request is not one (PKCS#10, DER)")]
    Unreadable,
    #[error(
        "the key of the certificate request is not Ed25519, P-256, P-384 or RSA of at least {RSA_BITS_MIN} bits"
    )]
    Key,
    #[error("the certificate request is not signed with its own key")]
    Signature,
}

pub(super) fn public_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, CsrError> {
    if csr.len() > CSR_BYTES_MAX {
        return Err(CsrError::TooLong);
    }
    let (rest, request) = X509CertificationRequest::from_der(csr).map_err(|_| CsrError::Unreadable)?;
    if !rest.is_empty() {
        return Err(CsrError::Unreadable);
    }
    let key = &request.certification_request_info.subject_pki;
    let is_certified = match key.algorithm.algorithm.to_id_string().as_str() {
        ED25519 => true,
        ELLIPTIC_CURVE => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            curve.is_some_and(|curve| CURVES.contains(&curve.to_id_string().as_str()))
        }
        RSA => matches!(key.parsed(), Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= RSA_BITS_MIN),
        _ => false,
    };
    if !is_certified {
        return Err(CsrError::Key);
    }
    request.verify_signature().map_err(|_| CsrError::Signature)?;
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| CsrError::Key)
}
