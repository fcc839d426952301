//! The agent's certificate: the first one, by a one-time token, and the next ones ([`Renewal`]).
//!
//! The key is made here and never leaves this machine. Files are written in an order in which each crash can be mended by
//! the same command: key, request, log policy, certificate. Nothing that is there is overwritten; only a renewal replaces
//! the certificate, as a whole, and so does an enrolment after its end where that is asked for.

mod files;
mod own_certificate;
mod renewal;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use openarchive_domain::{AgentRef, Timestamp};
use openarchive_ledger::policy::Policy;
use openarchive_proto::ingest::v1::{EnrolRequest, agent_service_client::AgentServiceClient};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use tonic::{Code, Request};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use self::files::Secrecy;
use crate::{
    config::CoreConfig,
    sync::{ConnectError, CoreAddress, LogTrust, PolicyUnfit},
};

pub(crate) use own_certificate::OwnCertificate;
pub use renewal::{Renewal, RenewalPace};

/// Longest wait for a certificate.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Longest one-time token, in bytes: a file that is longer is another file.
const TOKEN_BYTES_MAX: usize = 1024;

/// Why an agent has no certificate after [`enrol`].
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("{} is there already: this agent has enrolled; choose other files in `core` for another one", .path.display())]
    AlreadyEnrolled { path: PathBuf },
    #[error("{} cannot be used: {why}; move it away and enrol with a new token", .path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("{} ended at {end}, and there is no next one: {source}; enrol with a new token", .path.display())]
    Ended { path: PathBuf, end: Timestamp, source: Box<Self> },
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} holds no one-time token: write what `archivectl agents enrol` printed into it", .path.display())]
    NoToken { path: PathBuf },
    #[error("{} is not a private key (PEM, PKCS#8)", .path.display())]
    Key { path: PathBuf },
    #[error("a certificate request cannot be made: {0}")]
    Request(rcgen::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the core does not enrol this agent ({code:?}): {why}")]
    Refused { code: Code, why: String },
    #[error("the core's answer cannot be used: {0}")]
    Answer(&'static str),
    #[error("core.logPolicy: {0}")]
    Policy(#[from] PolicyUnfit),
}

/// What [`enrol`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    pub agent: AgentRef,
    /// Another log policy was there than the one that the core gave. It stays: a person put it there.
    pub other_policy: bool,
}

/// Makes a key, shows the token of `token_file` to the core, and writes key, log policy and certificate where the
/// configuration looks for them. Durable when it returns. Repeated after a crash or a lost answer it goes on where it was:
/// the same key and the same request, with which the token may be used again.
pub async fn enrol(core: &CoreConfig, token_file: &Path) -> Result<Enrolled, EnrolError> {
    if core.certificate.exists() {
        return Err(EnrolError::AlreadyEnrolled { path: core.certificate.clone() });
    }
    obtain(core, token_file, None).await
}

/// As [`enrol`], for a start script: `None` where a certificate is there that is good at `now`. One that has ended is replaced,
/// if the token is for the same agent; one that is not this agent's with its key is an error.
pub async fn enrol_if_needed(
    core: &CoreConfig,
    token_file: &Path,
    now: Timestamp,
) -> Result<Option<Enrolled>, EnrolError> {
    if !fs::exists(&core.certificate).map_err(at(&core.certificate))? {
        return obtain(core, token_file, None).await.map(Some);
    }
    let own = certificate_of_key(core)?;
    if now < own.not_after {
        return Ok(None);
    }
    obtain(core, token_file, Some(&own)).await.map(Some).map_err(|error| EnrolError::Ended {
        path: core.certificate.clone(),
        end: own.not_after,
        source: Box::new(error),
    })
}

/// The certificate that is there, if it goes with the key that is there.
fn certificate_of_key(core: &CoreConfig) -> Result<OwnCertificate, EnrolError> {
    let unusable = |why: String| EnrolError::Unusable { path: core.certificate.clone(), why };
    let pem = fs::read(&core.certificate).map_err(|error| unusable(error.to_string()))?;
    let own = OwnCertificate::parse(&pem)
        .ok_or_else(|| unusable("it holds no agent's certificate (PEM)".to_owned()))?;
    let key = read_key(&core.key).map_err(|error| unusable(format!("its key: {error}")))?;
    if own.public_key != key.subject_public_key_info() {
        return Err(unusable(format!("it is for another key than {}", core.key.display())));
    }
    Ok(own)
}

/// `ended`: the certificate that is replaced, by one of the same agent.
async fn obtain(
    core: &CoreConfig,
    token_file: &Path,
    ended: Option<&OwnCertificate>,
) -> Result<Enrolled, EnrolError> {
    let token = read_token(token_file)?;
    let address = CoreAddress::of(core);
    let channel = address.connect_without_certificate()?;
    let key = key_of(&core.key)?;
    let request_file = core.key.with_extension("csr");
    let csr = kept_request(&request_file, &key)?;

    let mut request = Request::new(EnrolRequest { token, csr: csr.into() });
    request.set_timeout(CALL_DEADLINE);
    let answer = AgentServiceClient::new(channel).enrol(request).await.map_err(|status| {
        let why = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
        EnrolError::Refused { code: status.code(), why }
    })?;
    let answer = answer.into_inner();

    let own = OwnCertificate::parse(answer.certificate_chain.as_bytes())
        .ok_or(EnrolError::Answer("it holds no agent's certificate"))?;
    if own.public_key != key.subject_public_key_info() {
        return Err(EnrolError::Answer("the certificate is for another key"));
    }
    if ended.is_some_and(|ended| ended.agent != own.agent) {
        return Err(EnrolError::Answer("the certificate is another agent's"));
    }
    let offered = answer.log_policy.as_bytes();
    if fs::exists(&core.log_policy).map_err(at(&core.log_policy))? {
        check_policy(&own.agent, &fs::read(&core.log_policy).map_err(at(&core.log_policy))?)?;
    } else {
        check_policy(&own.agent, offered)?;
        files::create(&core.log_policy, offered, Secrecy::Public).map_err(at(&core.log_policy))?;
    }
    let kept = fs::read(&core.log_policy).map_err(at(&core.log_policy))?;
    let write = if ended.is_some() { files::replace } else { files::create };
    write(&core.certificate, answer.certificate_chain.as_bytes(), Secrecy::Public)
        .map_err(at(&core.certificate))?;
    // It has done its work; left behind it does no harm.
    let _ = fs::remove_file(&request_file);
    Ok(Enrolled { agent: own.agent, other_policy: kept != offered })
}

fn at(path: &Path) -> impl Fn(io::Error) -> EnrolError + use<'_> {
    move |source| EnrolError::File { path: path.to_owned(), source }
}

fn read_token(path: &Path) -> Result<String, EnrolError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(EnrolError::NoToken { path: path.to_owned() });
    }
    Ok(token.to_owned())
}

/// The key of an earlier try, or a fresh one, which is durable when this returns.
fn key_of(path: &Path) -> Result<KeyPair, EnrolError> {
    if !fs::exists(path).map_err(at(path))? {
        let fresh = KeyPair::generate().map_err(EnrolError::Request)?;
        files::create(path, fresh.serialize_pem().as_bytes(), Secrecy::Secret).map_err(at(path))?;
    }
    read_key(path)
}

fn read_key(path: &Path) -> Result<KeyPair, EnrolError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    KeyPair::from_pem(&text).map_err(|_| EnrolError::Key { path: path.to_owned() })
}

/// The request of an earlier try with this key, byte for byte, or a fresh one, which is durable when this returns: the
/// token is bound to its bytes.
fn kept_request(path: &Path, key: &KeyPair) -> Result<Vec<u8>, EnrolError> {
    match fs::read(path) {
        Ok(kept) if is_request_for(&kept, key) => return Ok(kept),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(path)(error)),
    }
    let fresh = certificate_request(key)?;
    files::replace(path, &fresh, Secrecy::Public).map_err(at(path))?;
    Ok(fresh)
}

fn is_request_for(csr: &[u8], key: &KeyPair) -> bool {
    X509CertificationRequest::from_der(csr).is_ok_and(|(rest, request)| {
        let own = request.certification_request_info.subject_pki.raw == key.subject_public_key_info();
        rest.is_empty() && own
    })
}

/// Names nobody: the core knows who asks, and would not believe it.
fn certificate_request(key: &KeyPair) -> Result<Vec<u8>, EnrolError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(EnrolError::Request)?.der().to_vec())
}

fn check_policy(agent: &AgentRef, text: &[u8]) -> Result<(), EnrolError> {
    let policy =
        Policy::parse(text).map_err(|_| EnrolError::Answer("the log policy is not a tlog-policy"))?;
    LogTrust::from_policy(agent.clone(), &policy)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_try_has_the_same_key_and_the_same_request() {
        let folder = tempfile::tempdir().unwrap();
        let (key, csr) = (folder.path().join("agent.key"), folder.path().join("agent.csr"));
        let first = key_of(&key).unwrap();
        let request = kept_request(&csr, &first).unwrap();
        let second = key_of(&key).unwrap();
        assert_eq!(second.serialize_pem(), first.serialize_pem());
        assert_eq!(kept_request(&csr, &second).unwrap(), request);
        // Half a request, and one of another key, are made anew.
        fs::write(&csr, &request[..request.len() / 2]).unwrap();
        assert!(is_request_for(&kept_request(&csr, &second).unwrap(), &first));
        let other = KeyPair::generate().unwrap();
        assert!(is_request_for(&kept_request(&csr, &other).unwrap(), &other));
    }

    #[test]
    fn a_token_file_holds_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(read_token(&path), Err(EnrolError::File { .. })));
        for (text, token) in
            [("oae_x\n", Some("oae_x")), (" \n", None), (&"x".repeat(TOKEN_BYTES_MAX + 1), None)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(read_token(&path).ok().as_deref(), token);
        }
        fs::write(&path, "x".repeat(TOKEN_BYTES_MAX)).unwrap();
        assert!(read_token(&path).is_ok());
    }
}
