//! Agents over real mutual TLS.

use openarchive_domain::Digest;
use openarchive_proto::ingest::v1::ListAgentsRequest;
use openarchive_rpc::{Authorise, RpcChannel};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity as TlsIdentity, Server, ServerTlsConfig},
};

use crate::{
    agent::{Agent, Mail},
    archive::{Archive, TENANT},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.0.as_ref().pem())
    }

    fn issue(&self, name: SanType) -> TlsIdentity {
        self.issue_until(name, 2099).0
    }

    /// Until the first day of a year; with the SHA-256 of its DER.
    fn issue_until(&self, name: SanType, year: i32) -> (TlsIdentity, Digest) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (TlsIdentity::from_pem(certificate.pem(), key.serialize_pem()), Digest::of(certificate.der()))
    }
}

async fn serve(archive: &Archive, authority: &Authority) -> Endpoint {
    let tls = ServerTlsConfig::new()
        .identity(authority.issue(SanType::DnsName("ingest.example".try_into().unwrap())))
        .client_ca_root(authority.certificate())
        .client_auth_optional(true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Server::builder()
        .tls_config(tls)
        .unwrap()
        .layer(Authorise::by_certificate("archive.example"))
        .add_service(archive.ingest.agent_server());
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(format!("https://{address}")).unwrap()
}

async fn connect(endpoint: &Endpoint, authority: &Authority, identity: Option<TlsIdentity>) -> RpcChannel {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(authority.certificate()).domain_name("ingest.example");
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    endpoint.clone().tls_config(tls).unwrap().connect().await.unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_and_agent_are_those_of_the_client_certificate() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let archive = Archive::start().await;
    let authority = Authority::new();
    let endpoint = serve(&archive, &authority).await;
    let report = |identity: Option<&str>| {
        let identity = identity.map(|uri| authority.issue(SanType::URI(uri.try_into().unwrap())));
        let (endpoint, authority) = (&endpoint, &authority);
        async move {
            let channel = connect(endpoint, authority, identity).await;
            let agent = Agent::new(channel, "acme/mx7".parse().unwrap());
            agent.report(0).await.map(|_| agent)
        }
    };
    let code = |result: Result<Agent, Status>| result.unwrap_err().code();
    assert_eq!(code(report(None).await), Code::Unauthenticated);
    let refused = [
        "spiffe://other.example/tenant/acme/edge/mx7",
        "spiffe://archive.example/service/storage",
        "spiffe://archive.example/tenant/unknown/edge/mx7",
    ];
    for uri in refused {
        assert_eq!(code(report(Some(uri)).await), Code::PermissionDenied, "{uri}");
    }
    let agent = report(Some("spiffe://archive.example/tenant/acme/edge/mx7")).await.unwrap();
    let mail = Mail::plain(1);
    // The receipt names acme/mx7, which no field of any request does.
    agent.archive(&[(1, &mail)]).await;
    assert_eq!(archive.get(mail.key()).await.unwrap().observations[0].agent, "mx7");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_last_report_is_kept() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let archive = Archive::start().await;
    let authority = Authority::new();
    let endpoint = serve(&archive, &authority).await;
    for year in [2098, 2099] {
        let uri = SanType::URI("spiffe://archive.example/tenant/acme/edge/mx7".try_into().unwrap());
        let (identity, sha256) = authority.issue_until(uri, year);
        let channel = connect(&endpoint, &authority, Some(identity)).await;
        Agent::new(channel, "acme/mx7".parse().unwrap()).report(0).await.unwrap();
        for agent in ["", "mx7"] {
            let request = ListAgentsRequest { tenant: TENANT.to_owned(), agent: agent.to_owned() };
            let agents = archive.catalogue.clone().list_agents(request).await.unwrap().into_inner().agents;
            assert_eq!(agents.len(), 1);
            assert_eq!(agents[0].certificate_not_after, format!("{year}-01-01T00:00:00.000Z"));
            assert_eq!(agents[0].certificate_sha256.as_ref(), sha256.as_bytes());
        }
    }
}
