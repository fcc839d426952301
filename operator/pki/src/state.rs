//! What the authority's own Secret holds.
//!
//! | key | |
//! |---|---|
//! | `format` | `1` |
//! | `ca.crt`, `ca.key` | the authority; PEM, PKCS#8 |
//! | `cross.crt` | the authority as the one before it signed it, until that one ends; optional |
//! | `phase` | `Stable`, `TrustNew`, `ReIssue` or `DropOld` |
//! | `since` | when the phase began |
//! | `request` | SHA-256 of the last request for another authority that was taken up; optional |
//! | `next.crt`, `next.key` | in every phase but `Stable`: the authority that comes |
//! | `next-cross.crt` | beside them: the same as the present authority signed it, unless that one had ended; optional |
//! | `settled` | in every phase but `Stable`: since when every Secret has been seen as the phase wants it; optional |
//!
//! The key of the authority before is not kept.

use std::fmt;

use openarchive_domain::{Digest, Timestamp};

use crate::{
    CA_CERTIFICATE, SecretData,
    authority::{Authority, AuthorityError},
    certificate::{Certificate, CertificateError},
    plan::Found,
};

const FORMAT: &str = "format";
const FORMAT_1: &str = "1";
const CA_KEY: &str = "ca.key";
const CROSS: &str = "cross.crt";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const NEXT_CROSS: &str = "next-cross.crt";
const PHASE: &str = "phase";
const SINCE: &str = "since";
const SETTLED: &str = "settled";
const REQUEST: &str = "request";

/// Where the exchange of the authority stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No exchange is under way.
    Stable,
    /// Everybody comes to believe the next authority, too.
    TrustNew,
    /// Everybody gets a leaf of the next authority; agents come to show its intermediate.
    ReIssue,
    /// Everybody comes to believe the next authority alone.
    DropOld,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Stable, Self::TrustNew, Self::ReIssue, Self::DropOld];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "Stable",
            Self::TrustNew => "TrustNew",
            Self::ReIssue => "ReIssue",
            Self::DropOld => "DropOld",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no authority to go on with. All are for a person to mend; nothing is issued until then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error(
        "the authority's Secret is gone, and certificates that it signed are in use: restore it from a backup. \
         {BEGIN_ANEW}"
    )]
    Lost,
    #[error(
        "the authority's key ({key}) is lost: {reason}; restore the Secret from a backup. {BEGIN_ANEW}",
        reason = .why.as_ref().map_or("it is not there".to_owned(), ToString::to_string)
    )]
    KeyLost { key: &'static str, why: Option<AuthorityError> },
    #[error("the authority's certificate ({key}) cannot be used: {why}; restore the Secret from a backup")]
    Certificate { key: &'static str, why: AuthorityError },
    #[error("the authority's Secret has no {key}, which its phase needs; restore it from a backup")]
    Incomplete { key: &'static str },
    #[error("the authority's Secret says {found:?} for {key}: {expected}; restore it from a backup")]
    Value { key: &'static str, found: String, expected: &'static str },
    #[error(
        "the authority's Secret has format {0:?}, and this operator knows 1: run the operator that wrote it"
    )]
    Format(String),
    #[error("{key} was not signed by {by}; restore the authority's Secret from a backup")]
    ForeignCross { key: &'static str, by: &'static str },
}

const BEGIN_ANEW: &str = "Without a backup: delete it together with the Secrets of all certificates that it signed. A new authority is made; \
     services refuse each other until they have read the new files, and every agent outside this cluster needs a new \
     bundle";

/// One archive's authority, and its exchange. Written and read as the data of one Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityState {
    pub(crate) current: Authority,
    /// The present authority as the one before it signed it.
    pub(crate) cross: Option<Certificate>,
    pub(crate) since: Timestamp,
    pub(crate) request: Option<Digest>,
    pub(crate) rotation: Option<Rotation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) step: Step,
    pub(crate) next: Authority,
    /// `next` as `current` signed it; none where that one had ended before.
    pub(crate) cross: Option<Certificate>,
    pub(crate) settled: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    TrustNew,
    ReIssue,
    DropOld,
}

impl AuthorityState {
    /// What is stored; `None` at the very beginning, when there is neither an authority nor anything that one signed.
    pub fn load(secret: Option<&SecretData>, found: &Found) -> Result<Option<Self>, StateError> {
        match secret {
            Some(data) => Self::of_secret_data(data).map(Some),
            None if found.is_empty() => Ok(None),
            None => Err(StateError::Lost),
        }
    }

    pub fn of_secret_data(data: &SecretData) -> Result<Self, StateError> {
        let read = Reader(data);
        let format = read.text(FORMAT)?;
        if format != FORMAT_1 {
            return Err(StateError::Format(format.to_owned()));
        }
        let current = read.authority(CA_CERTIFICATE, CA_KEY)?;
        let rotation = match read.phase()? {
            Phase::Stable => None,
            Phase::TrustNew => Some(Step::TrustNew),
            Phase::ReIssue => Some(Step::ReIssue),
            Phase::DropOld => Some(Step::DropOld),
        };
        let rotation = rotation.map(|step| read.rotation(step, &current)).transpose()?;
        let cross = read.optional(CROSS).map(|pem| one(CROSS, pem)).transpose()?;
        if cross.as_ref().is_some_and(|cross| cross.public_key() != current.certificate().public_key()) {
            return Err(StateError::ForeignCross { key: CROSS, by: "the authority before this one" });
        }
        let request = read.optional(REQUEST).map(|_| read.parsed(REQUEST, "a SHA-256")).transpose()?;
        Ok(Self { current, cross, since: read.time(SINCE)?, request, rotation })
    }

    /// The inverse of [`Self::of_secret_data`]. Secret.
    pub fn to_secret_data(&self) -> SecretData {
        let mut data = SecretData::new();
        let mut put = |key: &str, text: &str| {
            data.insert(key.to_owned(), text.as_bytes().to_vec());
        };
        put(FORMAT, FORMAT_1);
        put(CA_CERTIFICATE, self.current.certificate().pem());
        put(CA_KEY, self.current.key_pem());
        put(PHASE, self.phase().as_str());
        put(SINCE, &self.since.to_string());
        if let Some(cross) = &self.cross {
            put(CROSS, cross.pem());
        }
        if let Some(request) = &self.request {
            put(REQUEST, &request.to_string());
        }
        if let Some(rotation) = &self.rotation {
            put(NEXT_CERTIFICATE, rotation.next.certificate().pem());
            put(NEXT_KEY, rotation.next.key_pem());
            if let Some(cross) = &rotation.cross {
                put(NEXT_CROSS, cross.pem());
            }
            if let Some(settled) = rotation.settled {
                put(SETTLED, &settled.to_string());
            }
        }
        data
    }

    pub fn phase(&self) -> Phase {
        match self.rotation.as_ref().map(|rotation| rotation.step) {
            None => Phase::Stable,
            Some(Step::TrustNew) => Phase::TrustNew,
            Some(Step::ReIssue) => Phase::ReIssue,
            Some(Step::DropOld) => Phase::DropOld,
        }
    }

    /// When the phase began.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Who signs now.
    pub fn issuing(&self) -> &Authority {
        match &self.rotation {
            Some(Rotation { step: Step::ReIssue | Step::DropOld, next, .. }) => next,
            _ => &self.current,
        }
    }

    /// Every authority to be believed now, PEM: for leaves' Secrets, and for who is let in from outside.
    pub fn bundle(&self) -> String {
        let current = self.current.certificate().pem();
        match &self.rotation {
            None => current.to_owned(),
            Some(Rotation { step: Step::DropOld, next, .. }) => next.certificate().pem().to_owned(),
            Some(Rotation { next, .. }) => current.to_owned() + next.certificate().pem(),
        }
    }

    /// What is shown behind a leaf, so that who knows only the authority before still lets it in.
    pub(crate) fn cross(&self) -> Option<&Certificate> {
        match &self.rotation {
            Some(Rotation { step: Step::ReIssue | Step::DropOld, cross, .. }) => cross.as_ref(),
            _ => self.cross.as_ref(),
        }
    }
}

struct Reader<'a>(&'a SecretData);

impl<'a> Reader<'a> {
    fn optional(&self, key: &'static str) -> Option<&'a [u8]> {
        self.0.get(key).map(Vec::as_slice).filter(|bytes| !bytes.is_empty())
    }

    fn required(&self, key: &'static str) -> Result<&'a [u8], StateError> {
        self.optional(key).ok_or(StateError::Incomplete { key })
    }

    fn text(&self, key: &'static str) -> Result<&'a str, StateError> {
        std::str::from_utf8(self.required(key)?).map_err(|_| StateError::Value {
            key,
            found: "bytes".to_owned(),
            expected: "it is a text",
        })
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<T, StateError> {
        let text = self.text(key)?;
        text.parse().map_err(|_| StateError::Value { key, found: text.to_owned(), expected })
    }

    fn time(&self, key: &'static str) -> Result<Timestamp, StateError> {
        self.parsed(key, "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ")
    }

    fn phase(&self) -> Result<Phase, StateError> {
        let text = self.text(PHASE)?;
        Phase::ALL.into_iter().find(|phase| phase.as_str() == text).ok_or_else(|| StateError::Value {
            key: PHASE,
            found: text.to_owned(),
            expected: "one of Stable, TrustNew, ReIssue, DropOld",
        })
    }

    fn authority(&self, certificate_key: &'static str, key: &'static str) -> Result<Authority, StateError> {
        let certificate = self.required(certificate_key)?;
        let secret = self.optional(key).ok_or(StateError::KeyLost { key, why: None })?;
        Authority::parse(certificate, secret).map_err(|why| match why {
            AuthorityError::NotAKey | AuthorityError::KeyMismatch => {
                StateError::KeyLost { key, why: Some(why) }
            }
            why => StateError::Certificate { key: certificate_key, why },
        })
    }

    fn rotation(&self, step: Step, current: &Authority) -> Result<Rotation, StateError> {
        let next = self.authority(NEXT_CERTIFICATE, NEXT_KEY)?;
        let cross = self.optional(NEXT_CROSS).map(|pem| one(NEXT_CROSS, pem)).transpose()?;
        let is_next = |cross: &Certificate| cross.public_key() == next.certificate().public_key();
        if cross.as_ref().is_some_and(|cross| !is_next(cross) || !cross.is_signed_by(current.certificate())) {
            return Err(StateError::ForeignCross { key: NEXT_CROSS, by: "the present authority" });
        }
        let settled = self.optional(SETTLED).map(|_| self.time(SETTLED)).transpose()?;
        Ok(Rotation { step, next, cross, settled })
    }
}

/// The one certificate of a PEM text.
fn one(key: &'static str, pem: &[u8]) -> Result<Certificate, StateError> {
    let unusable = |why: CertificateError| StateError::Certificate { key, why: why.into() };
    let mut chain = Certificate::chain_of_pem(pem).map_err(unusable)?;
    match (chain.pop(), chain.len()) {
        (Some(only), 0) => Ok(only),
        (_, others) => Err(StateError::Certificate { key, why: AuthorityError::NotOne(others + 1) }),
    }
}
