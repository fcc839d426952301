//! The archive's own certificate authority on one machine: made at first start, kept in the data folder.

use std::{fs, path::Path};

use anyhow::Context;
use openarchive_domain::AgentRef;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use crate::layout::{Secrecy, write_file};

/// Life of the authority. It signs the certificates of `openarchive agent add`, and those of agents that enrol
/// and renew by themselves.
const AUTHORITY_YEARS: i32 = 10;
/// Life of a server's or an agent's certificate. Servers' are made anew at each start.
const LEAF_YEARS: i32 = 2;

/// The authority, ready to sign.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    domain: String,
}

/// A certificate with its key, both PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Opens the authority in `folder`, or makes it. The key is written before the certificate: a certificate
    /// without key cannot be left behind.
    pub(crate) fn open_or_create(folder: &Path, domain: &str) -> anyhow::Result<Self> {
        let (certificate_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !certificate_path.is_file() {
            let key = KeyPair::generate().context("cannot make the authority's key")?;
            let key_pem = key.serialize_pem();
            let authority = CertifiedIssuer::self_signed(authority_params(domain)?, key)
                .context("cannot make the authority's certificate")?;
            write_file(&key_path, key_pem.as_bytes(), Secrecy::Secret)?;
            write_file(&certificate_path, authority.pem().as_bytes(), Secrecy::Public)?;
        }
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let certificate = read(&certificate_path)?;
        let key = KeyPair::from_pem(&read(&key_path)?)
            .with_context(|| format!("{} is not a private key", key_path.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .with_context(|| format!("{} is not an authority's certificate", certificate_path.display()))?;
        Ok(Self { certificate, issuer, domain: domain.to_owned() })
    }

    /// PEM, for those who must trust servers or agents of this archive.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// For a server on this machine: `localhost` and the loopback addresses.
    pub(crate) fn server(&self, role: &str) -> anyhow::Result<Identity> {
        let mut params =
            leaf_params(&["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()], role)?;
        params.subject_alt_names.push(uri(&format!("spiffe://{}/service/{role}", self.domain))?);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(&params)
    }

    /// For an agent: its tenant and name stand in the URI SAN and nowhere else (system.md section 5).
    pub(crate) fn agent(&self, agent: &AgentRef) -> anyhow::Result<Identity> {
        let mut params = leaf_params(&[], &agent.to_string())?;
        let san = format!("spiffe://{}/tenant/{}/edge/{}", self.domain, agent.tenant, agent.name);
        params.subject_alt_names.push(uri(&san)?);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> anyhow::Result<Identity> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn uri(text: &str) -> anyhow::Result<SanType> {
    Ok(SanType::URI(text.try_into().with_context(|| format!("{text} cannot stand in a certificate"))?))
}

fn authority_params(domain: &str) -> anyhow::Result<CertificateParams> {
    let mut params = leaf_params(&[], &format!("OpenArchive {domain}"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (from, _) = validity();
    params.not_after = rcgen::date_time_ymd(from.0 + AUTHORITY_YEARS, from.1, from.2);
    Ok(params)
}

fn leaf_params(names: &[String], common_name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("a name cannot stand in a certificate")?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&openarchive_domain::random::bytes::<16>()));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let (from, to) = validity();
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
    Ok(params)
}

type Day = (i32, u8, u8);

/// From yesterday, so that a clock a little behind does not refuse a fresh certificate. Days beyond 28 are cut: the
/// same day exists in every year.
fn validity() -> (Day, Day) {
    use openarchive_domain::{Clock, SystemClock, Timestamp};
    let yesterday = Timestamp::from_millis(SystemClock.now().as_millis() - 86_400_000).to_string();
    let number = |range: std::ops::Range<usize>| -> u16 {
        yesterday.get(range).and_then(|t| t.parse().ok()).unwrap_or(1)
    };
    let (year, month, day) = (i32::from(number(0..4)), number(5..7), number(8..10).min(28));
    let (month, day) = (u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1));
    ((year, month, day), (year + LEAF_YEARS, month, day))
}
