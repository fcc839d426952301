use std::{sync::Arc, time::Duration};

use openarchive_rpc::{PeerIdentity, ReloadingTls, Target, TlsFiles};
use openarchive_topology::Role;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Finding;
use crate::config::RoleConfig;

const ABOUT: &str = "calls";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// One finding a target: resolved, connected, the server's certificate believed, and the server the role it should be.
pub(super) async fn examine(config: &RoleConfig) -> Vec<Finding> {
    let tls = &config.tls;
    let files =
        TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone(), authorities: tls.ca.clone() };
    // Told by the look at the certificate.
    let Ok(tls) = ReloadingTls::load(&files) else { return Vec::new() };
    let mut findings = Vec::new();
    for (role, targets) in &config.calls {
        for target in targets {
            findings.push(reach(*role, target, &tls, &config.archive.domain).await);
        }
    }
    findings
}

async fn reach(role: Role, target: &Target, tls: &Arc<ReloadingTls>, domain: &str) -> Finding {
    let name = role.name();
    match timeout(CONNECT_TIME_MAX, handshake(role, target, tls, domain)).await {
        Ok(Ok(())) => Finding::good(ABOUT, format!("{name} answers at {target}")),
        Ok(Err((what, remedy))) => Finding::bad(ABOUT, format!("{name} at {target}: {what}"), remedy),
        Err(_) => {
            let what = format!("{name} at {target}: no answer within {} s", CONNECT_TIME_MAX.as_secs());
            Finding::bad(ABOUT, what, "look for a network policy or a firewall between the two")
        }
    }
}

async fn handshake(
    role: Role,
    target: &Target,
    tls: &Arc<ReloadingTls>,
    domain: &str,
) -> Result<(), (String, String)> {
    let address = target.to_string();
    let addresses: Vec<_> = tokio::net::lookup_host(&address)
        .await
        .map_err(|error| {
            (format!("its name does not resolve: {error}"), "check calls in the file, and DNS".into())
        })?
        .collect();
    let stream = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(|error| (format!("cannot connect: {error}"), format!("start {}", role.name())))?;
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let server = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| ("its host is not a name".to_owned(), "write HOST:PORT".to_owned()))?;
    let stream = TlsConnector::from(tls.client_config()).connect(server, stream).await.map_err(|error| {
        let remedy = "both sides must trust the same authority, and the certificate must name this host";
        (format!("TLS fails: {error}"), remedy.to_owned())
    })?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let identity = certificates.first().map(|own| PeerIdentity::of_certificate(own, domain));
    match identity {
        Some(Ok(PeerIdentity::Service(found))) if found == role => Ok(()),
        _ => Err((
            format!("who answers there is not {} of {domain}", role.name()),
            "check the port, and the certificate of who answers".to_owned(),
        )),
    }
}
