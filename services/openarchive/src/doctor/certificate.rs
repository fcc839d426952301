use std::{fs, path::PathBuf};

use openarchive_domain::Clock;
use openarchive_rpc::{ReloadingTls, TlsFiles};
use openarchive_trust::AgentsCa;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, pem::Pem, prelude::FromDer as _, time::ASN1Time,
};

use super::Finding;
use crate::config::TlsConfig;

const ABOUT: &str = "tls";
/// A certificate that ends sooner is warned about, in days.
const REMAINING_DAYS_MIN: i64 = 14;
const SECONDS_A_DAY: i64 = 86_400;

/// `name`: of the service that the certificate must name within `domain`.
pub(super) fn examine(name: &str, domain: &str, tls: &TlsConfig, clock: &dyn Clock) -> Vec<Finding> {
    let files =
        TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone(), authorities: tls.ca.clone() };
    if let Err(error) = ReloadingTls::load(&files) {
        return vec![Finding::bad(ABOUT, error.to_string(), "")];
    }
    let (Some(own), Some(authorities)) = (first(&tls.certificate), all(&tls.ca)) else {
        return vec![Finding::bad(
            ABOUT,
            "the certificate files cannot be read again",
            "run doctor once more",
        )];
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&own.contents) else {
        return vec![Finding::bad(ABOUT, "the certificate is not X.509", "have it issued again")];
    };
    vec![
        issuer(&certificate, &authorities),
        validity(&certificate, clock.now().as_millis() / 1000),
        identity(&certificate, &format!("spiffe://{domain}/service/{name}")),
    ]
}

/// The authority that signs agents' certificates: `None` where they are issued elsewhere.
pub(super) fn agents_ca(files: Option<&(PathBuf, PathBuf)>) -> Option<Finding> {
    const ABOUT: &str = "agentsCa";
    let (certificate, key) = files?;
    Some(match AgentsCa::load(certificate, key) {
        Ok(_) => Finding::good(ABOUT, "trust.agentsCa can sign agents' certificates"),
        Err(error) => {
            let remedy =
                "give trust.agentsCa an authority and its key, or leave it out and issue them elsewhere";
            Finding::bad(ABOUT, error.to_string(), remedy)
        }
    })
}

fn first(path: &std::path::Path) -> Option<Pem> {
    all(path)?.into_iter().next()
}

fn all(path: &std::path::Path) -> Option<Vec<Pem>> {
    let bytes = fs::read(path).ok()?;
    Pem::iter_from_buffer(&bytes).collect::<Result<_, _>>().ok()
}

fn issuer(certificate: &X509Certificate<'_>, authorities: &[Pem]) -> Finding {
    let signed = authorities.iter().any(|pem| {
        X509Certificate::from_der(&pem.contents).is_ok_and(|(_, authority)| {
            certificate.issuer() == authority.subject()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    });
    if signed {
        Finding::good(ABOUT, "the certificate was issued by an authority of tls.ca")
    } else {
        let remedy = "give tls.ca the authority that issued it: others trust nothing else";
        Finding::bad(ABOUT, "no authority of tls.ca issued the certificate", remedy)
    }
}

fn validity(certificate: &X509Certificate<'_>, now: i64) -> Finding {
    let validity = certificate.validity();
    let end = validity.not_after;
    if validity.not_before.timestamp() > now {
        let what = format!("the certificate is valid only from {}", validity.not_before);
        return Finding::bad(ABOUT, what, "set this machine's clock, or wait");
    }
    if end.timestamp() <= now {
        return Finding::bad(ABOUT, format!("the certificate has expired on {end}"), "renew it");
    }
    let days = (end.timestamp() - now) / SECONDS_A_DAY;
    if days < REMAINING_DAYS_MIN {
        return Finding::warning(ABOUT, format!("the certificate ends in {days} days"), "renew it");
    }
    Finding::good(ABOUT, format!("the certificate is valid until {}", day(end)))
}

fn day(time: ASN1Time) -> String {
    time.to_string()
}

fn identity(certificate: &X509Certificate<'_>, expected: &str) -> Finding {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let hosts = names.iter().any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)));
    match uris.as_slice() {
        [uri] if *uri == expected && hosts => {
            Finding::good(ABOUT, format!("the certificate names {expected}"))
        }
        [uri] if *uri == expected => {
            let remedy = "have it issued with the DNS name by which others call this role";
            Finding::bad(ABOUT, "the certificate names no host", remedy)
        }
        found => {
            let remedy = format!("have it issued with the one URI {expected}: calls are authorised by it");
            Finding::bad(ABOUT, format!("the certificate names {found:?} as its URIs"), remedy)
        }
    }
}
