use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

const DOMAIN: &str = "archive.example.org";

enum Name {
    Uri(&'static str),
    Dns(&'static str),
}

fn certificate(names: &[Name]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name {
            Name::Uri(uri) => SanType::URI((*uri).try_into().unwrap()),
            Name::Dns(host) => SanType::DnsName((*host).try_into().unwrap()),
        })
        .collect();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn an_agent_is_read_only_from_the_one_uri_of_this_archives_domain() {
    const AGENT: &str = "spiffe://archive.example.org/tenant/acme/edge/mx1";
    let check = |names: &[Name], expected: Result<&str, IdentityError>| {
        let found =
            PeerIdentity::of_certificate(&certificate(names), DOMAIN).map(|identity| match identity {
                PeerIdentity::Agent(identity) => identity.agent.to_string(),
                other => format!("{other:?}"),
            });
        assert_eq!(found, expected.map(str::to_owned));
    };
    check(&[Name::Uri(AGENT)], Ok("acme/mx1"));
    check(&[Name::Uri("spiffe://archive.example.org/service/trust")], Ok("Service(Trust)"));
    // Names of other kinds are for TLS and say nothing about who an agent is.
    check(&[Name::Dns("mx1.example.org"), Name::Uri(AGENT)], Ok("acme/mx1"));
    check(&[], Err(IdentityError::NotOneUri(0)));
    check(&[Name::Dns("acme.example.org")], Err(IdentityError::NotOneUri(0)));
    check(
        &[Name::Uri(AGENT), Name::Uri("spiffe://archive.example.org/tenant/other/edge/mx1")],
        Err(IdentityError::NotOneUri(2)),
    );
    check(&[Name::Uri(AGENT), Name::Uri(AGENT)], Err(IdentityError::NotOneUri(2)));
    for foreign in [
        "spiffe://other.example.org/tenant/acme/edge/mx1",
        "spiffe://archive.example.org.evil.test/tenant/acme/edge/mx1",
        "spiffe://ARCHIVE.example.org/tenant/acme/edge/mx1",
        "spiffe:///tenant/acme/edge/mx1",
        "spiffe://archive.example.org:443/tenant/acme/edge/mx1",
    ] {
        check(&[Name::Uri(foreign)], Err(IdentityError::ForeignDomain));
    }
    for other in [
        "https://archive.example.org/tenant/acme/edge/mx1",
        "spiffe://archive.example.org/service/nothing",
        "spiffe://archive.example.org/service/trust/x",
        "spiffe://archive.example.org",
        "spiffe://archive.example.org/tenant/acme/service/mx1",
        "spiffe://archive.example.org/tenant/acme/edge",
        "spiffe://archive.example.org/tenant/acme/edge/",
        "spiffe://archive.example.org/tenant/acme/edge/mx1/",
        "spiffe://archive.example.org//tenant/acme/edge/mx1",
        "spiffe://archive.example.org/tenant/_/edge/mx1",
        "spiffe://archive.example.org/tenant/Acme/edge/mx1",
        "spiffe://archive.example.org/tenant/acme/edge/mx1?tenant=other",
        "spiffe://archive.example.org/tenant/acme/edge/mx%31",
    ] {
        check(&[Name::Uri(other)], Err(IdentityError::Unknown));
    }
}

#[test]
fn bytes_that_are_no_certificate_name_nobody() {
    assert_eq!(PeerIdentity::of_certificate(b"", DOMAIN), Err(IdentityError::UnreadableCertificate));
    let mut cut = certificate(&[Name::Uri("spiffe://archive.example.org/tenant/acme/edge/mx1")]);
    cut.truncate(cut.len() / 2);
    assert_eq!(PeerIdentity::of_certificate(&cut, DOMAIN), Err(IdentityError::UnreadableCertificate));
}

#[test]
fn a_serial_number_has_one_text() {
    assert_eq!(serial(&[0, 0xff, 0x01]), "ff01");
    assert_eq!(serial(&[0x7f]), "7f");
    assert_eq!(serial(&[0]), "");
}

#[test]
fn who_is_no_agent_is_not_taken_for_one() {
    let mut request = Request::new(());
    assert_eq!(PeerIdentity::of(&request), PeerIdentity::Anonymous);
    assert_eq!(PeerIdentity::agent_of(&request).unwrap_err().code(), Code::PermissionDenied);
    request.extensions_mut().insert(PeerIdentity::Service(Role::Worker));
    assert_eq!(PeerIdentity::agent_of(&request).unwrap_err().code(), Code::PermissionDenied);
    let agent: AgentRef = "acme/mx1".parse().unwrap();
    request.extensions_mut().insert(PeerIdentity::local_agent(agent.clone()));
    assert_eq!(PeerIdentity::agent_of(&request).unwrap().agent, agent);
}
