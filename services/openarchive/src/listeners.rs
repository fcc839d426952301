//! Sockets: mTLS for agents, TLS for people.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use openarchive_proto::ingest::v1::agent_service_server::{AgentService, AgentServiceServer};
use openarchive_rpc::Authorise;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Server, ServerTlsConfig};

use crate::authority::{Authority, Identity};

pub(crate) async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for {what}: choose another with --{what}"))
}

/// Serves agents on `listener`; only certificates of `authority` get in, or none at all: each call is authorised by
/// itself. Ends when `stop` turns true.
pub(crate) fn serve_agents<S: AgentService>(
    listener: TcpListener,
    authority: &Authority,
    domain: &str,
    service: AgentServiceServer<S>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<Result<(), tonic::transport::Error>>> {
    let identity = authority.server("ingest")?;
    let tls = ServerTlsConfig::new()
        .identity(tonic::transport::Identity::from_pem(identity.certificate, identity.key))
        .client_ca_root(Certificate::from_pem(authority.certificate()))
        .client_auth_optional(true);
    let router = Server::builder()
        .tls_config(tls)
        .context("the server's certificate does not load")?
        .layer(openarchive_telemetry::TraceServer)
        .layer(Authorise::by_certificate(domain))
        .add_service(service);
    Ok(tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await
    }))
}

/// TLS for the gateway with a certificate of the archive's own authority.
pub(crate) fn gateway_tls(authority: &Authority) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let Identity { certificate, key } = authority.server("gateway")?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
