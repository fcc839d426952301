//! One server a role, as in the cluster: its services behind `Authorise`, over mutual TLS.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use openarchive_proto::{
    index::v1::index_service_server::IndexServiceServer,
    ingest::v1::{
        agent_service_server::AgentServiceServer, catalogue_service_server::CatalogueServiceServer,
    },
    storage::v1::storage_service_server::StorageServiceServer,
    trust::v1::trust_service_server::TrustServiceServer,
    worker::v1::worker_service_server::WorkerServiceServer,
};
use openarchive_rpc::{
    Authorise, ClientCertificates, Pace, PeerIdentity, RpcChannel, ServerTls, connect, in_process_as, serve,
    server_builder,
};
use openarchive_telemetry::TraceServer;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    server::NamedService,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{
    certificates::{Credentials, DOMAIN, Pki},
    handlers::Reached,
};

/// `package.Service` of a method.
pub(crate) fn service_of(path: &'static str) -> &'static str {
    path.split('/').nth(1).unwrap()
}

type Agents = AgentServiceServer<Reached>;
type Catalogue = CatalogueServiceServer<Reached>;
type Storage = StorageServiceServer<Reached>;
type Index = IndexServiceServer<Reached>;
type Trust = TrustServiceServer<Reached>;
type Worker = WorkerServiceServer<Reached>;

struct Server {
    services: &'static [&'static str],
    address: SocketAddr,
}

pub(crate) struct Servers {
    one_a_role: Vec<Server>,
    _stop: watch::Sender<bool>,
    _folder: TempDir,
}

impl Servers {
    pub(crate) async fn start(pki: &Pki) -> Self {
        let (files, folder) = pki.server();
        let (stop, stopped) = watch::channel(false);
        let mut one_a_role = Vec::new();
        macro_rules! start {
            ($($service:ident),+) => {{
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                let address = listener.local_addr().unwrap();
                let router = server_builder()
                    .layer(TraceServer)
                    .layer(Authorise::by_certificate(DOMAIN))
                    $(.add_service($service::new(Reached)))+;
                let tls = ServerTls { files: files.clone(), clients: ClientCertificates::Optional };
                tokio::spawn(serve(listener, router, tls, stopped.clone()));
                one_a_role.push(Server { services: &[$($service::NAME),+], address });
            }};
        }
        start!(Agents, Catalogue);
        start!(Storage);
        start!(Index);
        start!(Trust);
        start!(Worker);
        Self { one_a_role, _stop: stop, _folder: folder }
    }

    /// One to each service, for one caller.
    pub(crate) fn channels(&self, pki: &Pki, caller: &Credentials) -> BTreeMap<&'static str, RpcChannel> {
        let mut channels = BTreeMap::new();
        for server in &self.one_a_role {
            let channel = match &caller.tls {
                Some(tls) => connect(&[server.address.to_string().parse().unwrap()], tls.clone(), Pace::NEAR),
                None => anonymous(server.address, pki),
            };
            channels.extend(server.services.iter().map(|service| (*service, channel.clone())));
        }
        channels
    }
}

fn anonymous(address: SocketAddr, pki: &Pki) -> RpcChannel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pki.authority_pem()));
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", address.port())).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy().into()
}

/// One to each service in this very process, for one caller.
pub(crate) fn in_process_channels(caller: &PeerIdentity) -> BTreeMap<&'static str, RpcChannel> {
    macro_rules! channels {
        ($($service:ident),+) => {
            BTreeMap::from([$(($service::NAME, in_process_as(caller.clone(), $service::new(Reached)))),+])
        };
    }
    channels!(Agents, Catalogue, Storage, Index, Trust, Worker)
}
