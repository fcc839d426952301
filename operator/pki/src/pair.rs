//! A certificate and its key in one Secret, and what may be wrong with them.

use std::fmt;

use openarchive_domain::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _};

use crate::{SecretData, TLS_CERTIFICATE, TLS_KEY, certificate::Certificate};

/// Why a Secret is written again. `Display` is for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Missing,
    Incomplete,
    Unreadable,
    KeyMismatch,
    /// Signed by an authority that is not the one that issues now.
    OtherIssuer,
    /// Names or uses another identity, other DNS names, or another use than wanted.
    OtherNames,
    /// Beyond two thirds of its life, or not valid yet.
    Age,
    /// The certificate is good; what stands beside it is not what is to be believed now.
    OtherAuthorities,
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "there is none",
            Self::Incomplete => "tls.crt or tls.key is missing",
            Self::Unreadable => "tls.crt or tls.key cannot be read",
            Self::KeyMismatch => "the key does not belong to the certificate",
            Self::OtherIssuer => "it was not signed by the authority that issues now",
            Self::OtherNames => "it names something else than wanted",
            Self::Age => "two thirds of its life are over, or it is not valid yet",
            Self::OtherAuthorities => "other authorities are to be believed now",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A certificate that belongs to the key beside it.
pub(crate) struct Pair {
    pub(crate) own: Certificate,
    /// Those above it that stand in the same file.
    pub(crate) above: Vec<Certificate>,
}

impl Pair {
    pub(crate) fn read(secret: Option<&SecretData>) -> Result<Self, Why> {
        let secret = secret.ok_or(Why::Missing)?;
        let part = |key: &str| secret.get(key).filter(|bytes| !bytes.is_empty()).ok_or(Why::Incomplete);
        let (certificate, key) = (part(TLS_CERTIFICATE)?, part(TLS_KEY)?);
        let mut chain = Certificate::chain_of_pem(certificate).map_err(|_| Why::Unreadable)?.into_iter();
        let own = chain.next().ok_or(Why::Unreadable)?;
        let key = std::str::from_utf8(key).ok().and_then(|key| KeyPair::from_pem(key).ok());
        if key.ok_or(Why::Unreadable)?.subject_public_key_info() != own.public_key() {
            return Err(Why::KeyMismatch);
        }
        Ok(Self { own, above: chain.collect() })
    }

    pub(crate) fn check_issuer(&self, issuing: &Certificate) -> Result<(), Why> {
        if self.own.is_signed_by(issuing) { Ok(()) } else { Err(Why::OtherIssuer) }
    }

    /// Asked last: an exchange of the authority goes on beside one that is only old, so nothing else may be wrong with it.
    pub(crate) fn check_age(&self, now: Timestamp) -> Result<(), Why> {
        let is_due = now < self.own.not_before() || now >= self.own.renew_at();
        if is_due { Err(Why::Age) } else { Ok(()) }
    }
}
