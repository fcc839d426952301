//! The root of one archive.

use std::fmt;

use openarchive_domain::{Digest, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};

use crate::{
    certificate::{Certificate, CertificateError},
    issue::{self, IssueError, Random, TrustDomain, YEAR},
};

/// Life of an authority, in years of 365 days. It is exchanged after two thirds of it.
pub const CA_YEARS: u32 = 10;
/// Authorities between the root and a leaf: the agents' intermediate.
const PATH_LENGTH: u8 = 1;

/// Why a certificate and a key are no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    #[error("there are {0} certificates: there must be exactly one")]
    NotOne(usize),
    #[error("the certificate is not that of an authority (CA:TRUE, keyCertSign)")]
    NotAnAuthority,
    #[error(
        "the certificate allows no authority below it (path length): agents' certificates could not be signed"
    )]
    PathTooShort,
    #[error("the certificate is not signed by its own key")]
    NotSelfSigned,
    #[error("the certificate ends before it begins")]
    NeverValid,
    #[error("the key is no private key (PEM, PKCS#8)")]
    NotAKey,
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
}

/// A root certificate and its key. The Debug form shows nothing of the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    certificate: Certificate,
    /// PEM, PKCS#8.
    key: String,
}

impl Authority {
    pub(crate) fn create(
        domain: &TrustDomain,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<Self, IssueError> {
        Ok(Self::make(domain, now, random)?.0)
    }

    /// The next authority, and its certificate as this one signs it: shown behind a leaf, it lets in those who still believe
    /// only this one. It allows no further authority below it and ends with this one.
    pub(crate) fn successor(
        &self,
        domain: &TrustDomain,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<(Self, Certificate), IssueError> {
        let (next, mut params, key) = Self::make(domain, now, random)?;
        let crossed = issue::params("", (now, YEAR * CA_YEARS), Some(self.certificate.not_after()), random)?;
        params.serial_number = crossed.serial_number;
        params.not_after = crossed.not_after;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let crossed = self.sign(&params, &key)?;
        Ok((next, crossed))
    }

    fn make(
        domain: &TrustDomain,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<(Self, CertificateParams, KeyPair), IssueError> {
        let key = KeyPair::generate()?;
        // Two authorities of one archive have two names, so that a chain leads to one of them only.
        let mark: String = Digest::of(&key.subject_public_key_info()).hex().chars().take(8).collect();
        let mut params =
            issue::params(&format!("OpenArchive CA {mark}"), (now, YEAR * CA_YEARS), None, random)?;
        params.distinguished_name.push(DnType::OrganizationName, issue::subject_text(&domain.to_string()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(PATH_LENGTH));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = issue::read_back(&params.self_signed(&key)?)?;
        Ok((Self { certificate, key: key.serialize_pem() }, params, key))
    }

    /// One that was stored. Its time is not looked at: what follows from it is [`crate::plan`]'s to say.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let mut chain = Certificate::chain_of_pem(certificate)?;
        let certificate = match (chain.pop(), chain.len()) {
            (Some(only), 0) => only,
            (_, others) => return Err(AuthorityError::NotOne(others + 1)),
        };
        if !certificate.is_authority() {
            return Err(AuthorityError::NotAnAuthority);
        }
        if !certificate.is_authority_over(PATH_LENGTH.into()) {
            return Err(AuthorityError::PathTooShort);
        }
        if !certificate.is_signed_by(&certificate) {
            return Err(AuthorityError::NotSelfSigned);
        }
        if certificate.not_before() >= certificate.not_after() {
            return Err(AuthorityError::NeverValid);
        }
        let key = std::str::from_utf8(key).map_err(|_| AuthorityError::NotAKey)?;
        let pair = KeyPair::from_pem(key).map_err(|_| AuthorityError::NotAKey)?;
        if pair.subject_public_key_info() != certificate.public_key() {
            return Err(AuthorityError::KeyMismatch);
        }
        Ok(Self { certificate, key: key.to_owned() })
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key
    }

    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Certificate, IssueError> {
        let issuer = Issuer::from_ca_cert_pem(self.certificate.pem(), KeyPair::from_pem(&self.key)?)?;
        issue::read_back(&params.signed_by(key, &issuer)?)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
