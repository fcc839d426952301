//! A certificate as it is: what is decided by, and what people are told.

use std::{fmt, net::IpAddr};

use openarchive_domain::{Digest, Timestamp};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, pem::Pem, prelude::FromDer as _};

const PEM_END: &str = "-----END CERTIFICATE-----";

/// Why a text is no chain of certificates. Says nothing of what is in it: it may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("it holds something else than X.509 certificates in PEM, or damaged ones")]
    Damaged,
}

/// One certificate, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pem: String,
    der: Vec<u8>,
    report: CertificateReport,
    uris: Vec<String>,
    dns_names: Vec<String>,
    /// SubjectPublicKeyInfo, DER.
    public_key: Vec<u8>,
    /// Of an authority: how many others may stand between it and a leaf.
    authorities_below_max: Option<u32>,
    server_auth: bool,
    client_auth: bool,
}

/// For `status.certificates` and `doctor`. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateReport {
    /// What the caller calls it.
    pub name: String,
    pub subject: String,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// SHA-256 of the DER.
    pub fingerprint: Digest,
    /// Lowercase hex without leading zero bytes.
    pub serial: String,
    /// Subject alternative names, such as `URI:spiffe://archive.example/service/trust`.
    pub names: Vec<String>,
}

/// What the first certificate of a PEM file says.
pub fn report(name: &str, pem: &[u8]) -> Result<CertificateReport, CertificateError> {
    let chain = Certificate::chain_of_pem(pem)?;
    let first = chain.into_iter().next().ok_or(CertificateError::NoCertificate)?;
    Ok(CertificateReport { name: name.to_owned(), ..first.report })
}

impl Certificate {
    /// Every certificate of a PEM text, in its order; at least one. Comments between them are dropped.
    pub fn chain_of_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let mut rest = std::str::from_utf8(text).map_err(|_| CertificateError::Damaged)?;
        let mut chain = Vec::new();
        while let Some((block, after)) = rest.split_once(PEM_END) {
            chain.push(Self::of_block(block)?);
            rest = after;
        }
        if rest.contains("-----BEGIN ") {
            Err(CertificateError::Damaged)
        } else if chain.is_empty() {
            Err(CertificateError::NoCertificate)
        } else {
            Ok(chain)
        }
    }

    /// `block`: up to its end line, without it.
    fn of_block(block: &str) -> Result<Self, CertificateError> {
        let damaged = || CertificateError::Damaged;
        // The only block in there: a key before it would otherwise be kept as part of the text.
        let start = block.find("-----BEGIN ").ok_or_else(damaged)?;
        let pem = format!("{}{PEM_END}\n", block.get(start..).ok_or_else(damaged)?);
        let read = Pem::iter_from_buffer(pem.as_bytes()).next().ok_or_else(damaged)?;
        let read = read.ok().filter(|read| read.label == "CERTIFICATE").ok_or_else(damaged)?;
        Self::of_der(read.contents, pem)
    }

    fn of_der(der: Vec<u8>, pem: String) -> Result<Self, CertificateError> {
        let damaged = |_| CertificateError::Damaged;
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|_| CertificateError::Damaged)?;
        if !rest.is_empty() {
            return Err(CertificateError::Damaged);
        }
        let names = parsed.subject_alternative_name().map_err(damaged)?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
        let constraints = parsed.basic_constraints().map_err(damaged)?;
        let may_sign = parsed.key_usage().map_err(damaged)?.is_some_and(|usage| usage.value.key_cert_sign());
        let usage = parsed.extended_key_usage().map_err(damaged)?;
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let mut certificate = Self {
            pem,
            der: Vec::new(),
            report: CertificateReport {
                name: String::new(),
                subject: parsed.subject().to_string(),
                issuer: parsed.issuer().to_string(),
                not_before: time(parsed.validity().not_before.timestamp()),
                not_after: time(parsed.validity().not_after.timestamp()),
                fingerprint: Digest::of(&der),
                serial: serial(parsed.raw_serial()),
                names: names.iter().map(name_text).collect(),
            },
            uris: names.iter().filter_map(uri).collect(),
            dns_names: names.iter().filter_map(dns_name).collect(),
            public_key: parsed.public_key().raw.to_vec(),
            authorities_below_max: constraints
                .filter(|constraints| constraints.value.ca && may_sign)
                .map(|constraints| constraints.value.path_len_constraint.unwrap_or(u32::MAX)),
            server_auth: usage.as_ref().is_some_and(|usage| usage.value.server_auth),
            client_auth: usage.as_ref().is_some_and(|usage| usage.value.client_auth),
        };
        certificate.der = der;
        Ok(certificate)
    }

    /// One PEM block.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn fingerprint(&self) -> Digest {
        self.report.fingerprint
    }

    pub fn not_before(&self) -> Timestamp {
        self.report.not_before
    }

    pub fn not_after(&self) -> Timestamp {
        self.report.not_after
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// May sign other certificates, with at least `below` authorities between it and a leaf.
    pub(crate) fn is_authority_over(&self, below: u32) -> bool {
        self.authorities_below_max.is_some_and(|most| most >= below)
    }

    pub(crate) fn is_authority(&self) -> bool {
        self.is_authority_over(0)
    }

    pub(crate) fn uris(&self) -> &[String] {
        &self.uris
    }

    pub(crate) fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    pub(crate) fn serves(&self) -> bool {
        self.server_auth
    }

    pub(crate) fn calls(&self) -> bool {
        self.client_auth
    }

    /// By name and by signature; says nothing of times.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let own = X509Certificate::from_der(&self.der);
        let above = X509Certificate::from_der(&issuer.der);
        own.is_ok_and(|(_, own)| {
            above.is_ok_and(|(_, above)| {
                own.issuer().as_raw() == above.subject().as_raw()
                    && own.verify_signature(Some(above.public_key())).is_ok()
            })
        })
    }

    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.not_after()
    }

    /// From here on it is renewed: two thirds of its life, and up to a twentieth more, by its own fingerprint: those that
    /// were issued together do not come together, and the same one is due at the same time in every pass.
    pub fn renew_at(&self) -> Timestamp {
        let [first, second, ..] = *self.fingerprint().as_bytes();
        let random = i64::from(u16::from_be_bytes([first, second]));
        let life = self.not_after().as_millis().saturating_sub(self.not_before().as_millis()).max(0);
        let spread = life / 20 * random / i64::from(u16::MAX);
        Timestamp::from_millis(self.not_before().as_millis().saturating_add(life / 3 * 2 + spread))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.report).finish()
    }
}

fn uri(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
}

fn name_text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::IPAddress(octets) => address(octets)
            .map_or_else(|| "IP address of a wrong length".to_owned(), |address| format!("IP:{address}")),
        other => other.to_string(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn serial(raw: &[u8]) -> String {
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len());
    raw.iter().skip(start).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
