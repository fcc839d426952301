//! Which agent calls: read from the client certificate, never from a field of a request.

#[cfg(test)]
mod tests;

use openarchive_domain::AgentRef;
use openarchive_rpc::refusal;
use tonic::{Code, Request, Status};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Where an agent's identity comes from. Chosen once, when the server is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// From the one URI in the client certificate's subject alternative name, which must be
    /// `spiffe://<domain>/tenant/<tenant>/edge/<name>`. TLS has checked the certificate's chain before.
    FromCertificate { domain: String },
    /// An agent in this very process, over a channel that nobody else can reach.
    Fixed(AgentRef),
}

/// A caller who is not shown to be an agent of this archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("no client certificate was shown: use the one that `openarchive agent add` wrote")]
    NoCertificate,
    #[error("the client certificate cannot be read")]
    UnreadableCertificate,
    #[error("the client certificate names {0} URIs as its subject: an agent's names exactly one")]
    NotOneUri(usize),
    #[error("the client certificate belongs to another trust domain than this archive's")]
    ForeignDomain,
    #[error("the client certificate is not one of an agent (spiffe://DOMAIN/tenant/TENANT/edge/NAME)")]
    NotAnAgent,
}

impl From<IdentityError> for Status {
    fn from(error: IdentityError) -> Self {
        let (code, reason) = match error {
            IdentityError::NoCertificate => (Code::Unauthenticated, "NO_CERTIFICATE"),
            IdentityError::UnreadableCertificate => (Code::Unauthenticated, "UNREADABLE_CERTIFICATE"),
            IdentityError::NotOneUri(_) => (Code::Unauthenticated, "NOT_ONE_URI"),
            IdentityError::ForeignDomain => (Code::PermissionDenied, "FOREIGN_DOMAIN"),
            IdentityError::NotAnAgent => (Code::PermissionDenied, "NOT_AN_AGENT"),
        };
        refusal(code, reason, error.to_string())
    }
}

impl Identity {
    pub(crate) fn of<T>(&self, request: &Request<T>) -> Result<AgentRef, IdentityError> {
        let domain = match self {
            Self::Fixed(agent) => return Ok(agent.clone()),
            Self::FromCertificate { domain } => domain,
        };
        let certificates = request.peer_certs().ok_or(IdentityError::NoCertificate)?;
        // The first is the client's own (RFC 8446 section 4.4.2); the others are its issuers.
        let own = certificates.first().ok_or(IdentityError::NoCertificate)?;
        agent_of_certificate(own, domain)
    }
}

/// The agent that a certificate (DER) names.
fn agent_of_certificate(der: &[u8], domain: &str) -> Result<AgentRef, IdentityError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| IdentityError::UnreadableCertificate)?;
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::UnreadableCertificate)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => agent_of_uri(uri, domain),
        others => Err(IdentityError::NotOneUri(others.len())),
    }
}

fn agent_of_uri(uri: &str, domain: &str) -> Result<AgentRef, IdentityError> {
    let rest = uri.strip_prefix("spiffe://").ok_or(IdentityError::NotAnAgent)?;
    let (authority, path) = rest.split_once('/').ok_or(IdentityError::NotAnAgent)?;
    if authority != domain {
        return Err(IdentityError::ForeignDomain);
    }
    let fields: Vec<&str> = path.split('/').collect();
    let ["tenant", tenant, "edge", name] = fields.as_slice() else { return Err(IdentityError::NotAnAgent) };
    let agent = AgentRef {
        tenant: tenant.parse().map_err(|_| IdentityError::NotAnAgent)?,
        name: name.parse().map_err(|_| IdentityError::NotAnAgent)?,
    };
    Ok(agent)
}
