//! Who calls: read from the client certificate, never from a field of a request.

#[cfg(test)]
mod tests;

use openarchive_domain::{AgentRef, Digest};
use openarchive_topology::{Caller, Role};
use tonic::{Code, Request, Status};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::refusal;

/// A caller, as its certificate names it. Handlers find it in the request's extensions ([`PeerIdentity::of`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerIdentity {
    Service(Role),
    Agent(AgentIdentity),
    /// Shows no certificate.
    Anonymous,
}

impl From<Role> for PeerIdentity {
    fn from(role: Role) -> Self {
        Self::Service(role)
    }
}

/// An agent and the certificate that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    pub agent: AgentRef,
    /// Serial number, lowercase hex without leading zero bytes; empty for an agent in this very process, which needs no
    /// certificate.
    pub serial: String,
    /// End of validity, seconds since 1970; `i64::MAX` in this very process.
    pub not_after: i64,
    /// SHA-256 of the certificate's DER; `None` in this very process.
    pub certificate: Option<Digest>,
}

/// A certificate that names nobody of this archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the client certificate cannot be read")]
    UnreadableCertificate,
    #[error("the client certificate names {0} URIs as its subject: it must name exactly one")]
    NotOneUri(usize),
    #[error("the client certificate belongs to another trust domain than this archive's")]
    ForeignDomain,
    #[error(
        "the client certificate names neither an agent (spiffe://DOMAIN/tenant/TENANT/edge/NAME) nor a service (spiffe://DOMAIN/service/ROLE)"
    )]
    Unknown,
}

impl IdentityError {
    pub(crate) fn status(self) -> Status {
        let (code, reason) = match self {
            Self::UnreadableCertificate => (Code::Unauthenticated, "UNREADABLE_CERTIFICATE"),
            Self::NotOneUri(_) => (Code::Unauthenticated, "NOT_ONE_URI"),
            Self::ForeignDomain => (Code::PermissionDenied, "FOREIGN_DOMAIN"),
            Self::Unknown => (Code::PermissionDenied, "UNKNOWN_IDENTITY"),
        };
        refusal(code, reason, self.to_string())
    }
}

impl PeerIdentity {
    /// An agent in this very process, over a channel that nobody else can reach.
    pub fn local_agent(agent: AgentRef) -> Self {
        Self::Agent(AgentIdentity { agent, serial: String::new(), not_after: i64::MAX, certificate: None })
    }

    /// Whom a certificate (DER) names: the one URI of its subject alternative name, within `domain`. TLS has checked its
    /// chain before.
    pub fn of_certificate(der: &[u8], domain: &str) -> Result<Self, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| IdentityError::UnreadableCertificate)?;
        let names =
            certificate.subject_alternative_name().map_err(|_| IdentityError::UnreadableCertificate)?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let [uri] = uris.as_slice() else { return Err(IdentityError::NotOneUri(uris.len())) };
        match named(uri, domain)? {
            Named::Service(role) => Ok(Self::Service(role)),
            Named::Agent(agent) => Ok(Self::Agent(AgentIdentity {
                agent,
                serial: serial(certificate.raw_serial()),
                not_after: certificate.validity().not_after.timestamp(),
                certificate: Some(Digest::of(der)),
            })),
        }
    }

    /// Who made a request: what [`crate::Authorise`] left there. Without that layer nobody did.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Anonymous)
    }

    /// The agent that made a request; any other caller is refused.
    pub fn agent_of<T>(request: &Request<T>) -> Result<AgentIdentity, Status> {
        match Self::of(request) {
            Self::Agent(agent) => Ok(agent),
            Self::Service(_) | Self::Anonymous => Err(refusal(
                Code::PermissionDenied,
                "NOT_AN_AGENT",
                "only an agent may call this: use the certificate that the agent was enrolled with",
            )),
        }
    }

    /// What the table tells apart.
    pub const fn caller(&self) -> Caller {
        match self {
            Self::Service(role) => Caller::Role(*role),
            Self::Agent(_) => Caller::Agent,
            Self::Anonymous => Caller::Anonymous,
        }
    }
}

/// Lowercase hex without the sign's leading zero byte, so that one number has one text.
fn serial(raw: &[u8]) -> String {
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len());
    raw.iter().skip(start).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[derive(Debug, PartialEq, Eq)]
enum Named {
    Service(Role),
    Agent(AgentRef),
}

fn named(uri: &str, domain: &str) -> Result<Named, IdentityError> {
    let rest = uri.strip_prefix("spiffe://").ok_or(IdentityError::Unknown)?;
    let (authority, path) = rest.split_once('/').ok_or(IdentityError::Unknown)?;
    if authority != domain {
        return Err(IdentityError::ForeignDomain);
    }
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["service", role] => Role::of_name(role).map(Named::Service).ok_or(IdentityError::Unknown),
        ["tenant", tenant, "edge", name] => Ok(Named::Agent(AgentRef {
            tenant: tenant.parse().map_err(|_| IdentityError::Unknown)?,
            name: name.parse().map_err(|_| IdentityError::Unknown)?,
        })),
        _ => Err(IdentityError::Unknown),
    }
}
