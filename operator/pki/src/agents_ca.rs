//! The intermediate with which trust signs agents' certificates (`trust.agentsCa`).
//!
//! It may sign clients only: `extKeyUsage clientAuth` holds for everything below it, so that its key makes no server. An agent
//! shows it behind its own certificate, so each exchange may give it a new key.

use openarchive_domain::Timestamp;
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use crate::{
    SecretData, TLS_CERTIFICATE, TLS_KEY,
    authority::Authority,
    certificate::Certificate,
    issue::{self, IssueError, Random, TrustDomain, YEAR},
    pair::{Pair, Why},
};

/// Life of the agents' intermediate, in years of 365 days. It never outlives its authority.
pub const AGENTS_CA_YEARS: u32 = 5;
/// Longest life of a certificate that trust signs with it, in days: so long agents may show an earlier intermediate.
pub const AGENT_CERTIFICATE_DAYS_MAX: u64 = 90;

pub(crate) fn issue(
    domain: &TrustDomain,
    authority: &Authority,
    now: Timestamp,
    random: Random<'_>,
) -> Result<SecretData, IssueError> {
    let key = KeyPair::generate()?;
    let end = Some(authority.certificate().not_after());
    let mut params = issue::params("OpenArchive agents", (now, YEAR * AGENTS_CA_YEARS), end, random)?;
    params.distinguished_name.push(DnType::OrganizationName, issue::subject_text(&domain.to_string()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = authority.sign(&params, &key)?;
    Ok(SecretData::from([
        (TLS_CERTIFICATE.to_owned(), certificate.pem().into()),
        (TLS_KEY.to_owned(), key.serialize_pem().into()),
    ]))
}

pub(crate) fn examine(
    secret: Option<&SecretData>,
    issuing: &Authority,
    now: Timestamp,
) -> Result<Certificate, Why> {
    let pair = Pair::read(secret)?;
    let clients_only = pair.own.calls() && !pair.own.serves();
    if !pair.own.is_authority() || !clients_only || !pair.above.is_empty() {
        return Err(Why::OtherNames);
    }
    pair.check_issuer(issuing.certificate())?;
    pair.check_age(now)?;
    Ok(pair.own)
}
