//! The certificate of one process.

use std::{collections::BTreeSet, time::Duration};

use openarchive_domain::{AgentRef, Timestamp};
use openarchive_topology::Role;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls_pki_types::DnsName;

use crate::{
    CA_CERTIFICATE, SecretData, TLS_CERTIFICATE, TLS_KEY,
    certificate::Certificate,
    issue::{self, DAY, IssueError, Random, TrustDomain},
    pair::{Pair, Why},
    state::AuthorityState,
};

/// Life of a leaf, in days.
pub const LEAF_DAYS: u32 = 90;
/// Most DNS names of one leaf.
pub const DNS_NAMES_MAX: usize = 64;

/// Whom a certificate names in its URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    Service(Role),
    /// The process that is every role: it names none, and shown to a server it opens nothing.
    All,
    Agent(AgentRef),
    /// What mail servers connect to: no URI, and it calls nobody.
    Listener,
}

impl Identity {
    fn uri(&self, domain: &TrustDomain) -> Option<String> {
        match self {
            Self::Service(role) => Some(format!("spiffe://{domain}/service/{}", role.name())),
            Self::All => Some(format!("spiffe://{domain}/service/all")),
            Self::Agent(agent) => {
                Some(format!("spiffe://{domain}/tenant/{}/edge/{}", agent.tenant, agent.name))
            }
            Self::Listener => None,
        }
    }

    fn calls(&self) -> bool {
        !matches!(self, Self::Listener)
    }

    fn common_name(&self) -> String {
        match self {
            Self::Service(role) => role.name().to_owned(),
            Self::All => "all".to_owned(),
            Self::Agent(agent) => agent.to_string(),
            Self::Listener => "listener".to_owned(),
        }
    }
}

/// Why a leaf cannot be wanted so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("{0:?} is no DNS name that can stand in a certificate; write one such as archive.example.com")]
    NotADnsName(String),
    #[error("{0} DNS names are more than the {DNS_NAMES_MAX} that one certificate may have")]
    TooManyNames(usize),
}

/// What a process needs. One that has DNS names may serve under them; every one but a listener may call as its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// What the caller calls it: the key in [`crate::Found::leaves`].
    pub(crate) name: String,
    pub(crate) identity: Identity,
    /// Lower case, in order.
    pub(crate) dns_names: BTreeSet<String>,
}

impl LeafSpec {
    pub fn new(
        name: impl Into<String>,
        identity: Identity,
        dns_names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, SpecError> {
        let checked = |name: &str| match DnsName::try_from(name) {
            Ok(name) => Ok(name.to_lowercase_owned().as_ref().to_owned()),
            Err(_) => Err(SpecError::NotADnsName(name.to_owned())),
        };
        let dns_names =
            dns_names.into_iter().map(|name| checked(name.as_ref())).collect::<Result<BTreeSet<_>, _>>()?;
        if dns_names.len() > DNS_NAMES_MAX {
            return Err(SpecError::TooManyNames(dns_names.len()));
        }
        Ok(Self { name: name.into(), identity, dns_names })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.dns_names.iter().map(String::as_str)
    }

    /// A new key, its certificate by the authority that issues now, and whom to believe.
    pub(crate) fn issue(
        &self,
        domain: &TrustDomain,
        state: &AuthorityState,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<SecretData, IssueError> {
        let issuing = state.issuing();
        let life: Duration = DAY * LEAF_DAYS;
        let end = Some(issuing.certificate().not_after());
        let mut params = issue::params(&self.identity.common_name(), (now, life), end, random)?;
        if let Some(uri) = self.identity.uri(domain) {
            params.subject_alt_names.push(issue::uri(&uri)?);
        }
        for name in &self.dns_names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        if self.identity.calls() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if self.serves() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = issuing.sign(&params, &key)?;
        Ok(secret(&certificate, key.serialize_pem().into_bytes(), state))
    }

    /// The certificate of `secret` if it may stay.
    pub(crate) fn examine(
        &self,
        secret: Option<&SecretData>,
        domain: &TrustDomain,
        state: &AuthorityState,
        now: Timestamp,
    ) -> Result<Certificate, Why> {
        let pair = Pair::read(secret)?;
        self.check_names(&pair.own, domain)?;
        pair.check_issuer(state.issuing().certificate())?;
        let shown = pair.above.iter().map(Certificate::der).eq(state.cross().map(Certificate::der));
        let believed = secret.and_then(|secret| secret.get(CA_CERTIFICATE));
        if !shown || believed != Some(&state.bundle().into_bytes()) {
            return Err(Why::OtherAuthorities);
        }
        pair.check_age(now)?;
        Ok(pair.own)
    }

    fn check_names(&self, own: &Certificate, domain: &TrustDomain) -> Result<(), Why> {
        let names = own.dns_names().iter().cloned().collect::<BTreeSet<_>>();
        let is_me = own.uris().iter().eq(self.identity.uri(domain).iter()) && names == self.dns_names;
        let is_used_so =
            own.calls() == self.identity.calls() && own.serves() == self.serves() && !own.is_authority();
        if is_me && is_used_so { Ok(()) } else { Err(Why::OtherNames) }
    }

    fn serves(&self) -> bool {
        !self.dns_names.is_empty()
    }
}

/// The same certificate and key beside the authorities of now; `None` where there is no such pair.
pub(crate) fn rebundled(found: &SecretData, state: &AuthorityState) -> Option<SecretData> {
    let pair = Pair::read(Some(found)).ok()?;
    Some(secret(&pair.own, found.get(TLS_KEY)?.clone(), state))
}

fn secret(certificate: &Certificate, key: Vec<u8>, state: &AuthorityState) -> SecretData {
    let cross = state.cross().map_or("", Certificate::pem);
    SecretData::from([
        (TLS_CERTIFICATE.to_owned(), format!("{}{cross}", certificate.pem()).into_bytes()),
        (TLS_KEY.to_owned(), key),
        (CA_CERTIFICATE.to_owned(), state.bundle().into_bytes()),
    ])
}
