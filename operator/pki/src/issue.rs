//! What all certificates that are issued here have in common.

use std::{fmt, str::FromStr, time::Duration};

use openarchive_domain::{ParseError, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyUsagePurpose, SanType, SerialNumber};

use crate::certificate::{Certificate, CertificateError};

/// How far back a certificate begins, in seconds, so that a machine whose clock is a little behind does not refuse it.
pub const BACKDATED_SECONDS: u64 = 3600;
/// Longest text of a common name or an organisation (RFC 5280 appendix A, ub-common-name), in characters.
const SUBJECT_CHARS_MAX: usize = 64;
/// 9999-12-31T23:59:59Z, the last time that a certificate can say (RFC 5280 section 4.1.2.5).
const TIME_SECONDS_MAX: u64 = 253_402_300_799;
/// Longest domain name, in bytes (RFC 1035 section 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const YEAR: Duration = Duration::from_hours(24 * 365);

/// Where serial numbers come from: 16 bytes a call, each call others. `openarchive_domain::random::bytes` in operation.
pub type Random<'a> = &'a mut dyn FnMut() -> [u8; 16];

/// Why a certificate cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the cryptographic library refuses to make a key or a certificate")]
    Crypto(#[from] rcgen::Error),
    #[error("the library made a certificate that cannot be read back")]
    Unreadable(#[from] CertificateError),
    #[error("the authority that should sign has ended; plan again")]
    AuthorityEnded,
    #[error("the change of the authority is not due in its present phase; plan again from what is stored")]
    NotDue,
    #[error("the plan names the leaf {0}, which is not wanted or not found any more; plan again")]
    NoSuchLeaf(String),
}

/// `spec.domain` of an archive: the authority part of each URI in its certificates. A DNS name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

impl FromStr for TrustDomain {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let label = |label: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes.iter().all(|b| plain(*b) || *b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("domain", text, "a DNS name in lower case, such as archive.example.com"))
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From a little before `now` for `life`, but not beyond `end`.
pub(crate) fn params(
    common_name: &str,
    (now, life): (Timestamp, Duration),
    end: Option<Timestamp>,
    random: Random<'_>,
) -> Result<CertificateParams, IssueError> {
    let seconds = |time: Timestamp| u64::try_from(time.as_millis() / 1000).unwrap_or(0);
    let end_of_issuer = end.map_or(TIME_SECONDS_MAX, seconds);
    let end = (seconds(now).saturating_add(life.as_secs())).min(end_of_issuer).min(TIME_SECONDS_MAX);
    if end <= seconds(now) {
        return Err(IssueError::AuthorityEnded);
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(seconds(now).saturating_sub(BACKDATED_SECONDS));
    params.not_after = epoch + Duration::from_secs(end);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject_text(common_name));
    params.serial_number = Some(SerialNumber::from_slice(&serial(random)));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// For people only: who it is stands in the alternative names.
pub(crate) fn subject_text(text: &str) -> String {
    text.chars().take(SUBJECT_CHARS_MAX).collect()
}

pub(crate) fn uri(text: &str) -> Result<SanType, IssueError> {
    Ok(SanType::URI(text.try_into()?))
}

pub(crate) fn read_back(issued: &rcgen::Certificate) -> Result<Certificate, IssueError> {
    let chain = Certificate::chain_of_pem(issued.pem().as_bytes())?;
    Ok(chain.into_iter().next().ok_or(CertificateError::NoCertificate)?)
}

/// Positive and without a leading zero byte, so that it has one text (RFC 5280 section 4.1.2.2).
fn serial(random: Random<'_>) -> [u8; 16] {
    let mut serial = random();
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    serial
}
