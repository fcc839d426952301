//! The sockets of a core: mTLS for agents and the operator, TLS for people.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use openarchive_gateway::GatewayTls;
use openarchive_rpc::{
    Authorise, ClientCertificates, ReloadingCertificate, ReloadingTls, ServerTls, server_builder,
};
use openarchive_telemetry::TraceServer;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Server, ServerTlsConfig};
use tracing::{error, warn};

use crate::{
    authority::{Authority, Identity},
    core::Core,
    database::Database,
};

/// How often it is looked whether what a core cannot do without is still there: a new start may mend it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// `setting`: by which whoever starts the archive chooses another address.
pub(crate) async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another address with {setting}"))
}

/// Bound before anything else starts, so that a taken port is told at once.
pub(crate) struct FrontListeners {
    pub(crate) grpc: TcpListener,
    pub(crate) rest: TcpListener,
}

/// Certificates from files that are read again when they change.
pub(crate) struct FrontTls {
    pub(crate) grpc: Arc<ReloadingTls>,
    pub(crate) rest: Arc<ReloadingCertificate>,
}

/// A core's open sockets.
pub(crate) struct Front {
    stop: watch::Sender<bool>,
    grpc: JoinHandle<anyhow::Result<()>>,
    rest: JoinHandle<anyhow::Result<()>>,
}

impl Front {
    /// For one machine: with certificates of the archive's own authority, and for agents alone.
    pub(crate) fn of_authority(
        core: &Core,
        listeners: FrontListeners,
        authority: &Authority,
        domain: &str,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        core.evidence.trust.hurry_when(stopped.clone());
        let identity = authority.server("ingest")?;
        let tls = ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(identity.certificate, identity.key))
            .client_ca_root(Certificate::from_pem(authority.certificate()))
            .client_auth_optional(true);
        let router = Server::builder()
            .tls_config(tls)
            .context("the server's certificate does not load")?
            .layer(TraceServer)
            .layer(Authorise::by_certificate(domain))
            .add_service(core.ingest.agent_server());
        let incoming = TcpListenerStream::new(listeners.grpc);
        let end = told(stopped.clone());
        let grpc = tokio::spawn(async move { Ok(router.serve_with_incoming_shutdown(incoming, end).await?) });
        let tls = GatewayTls::Fixed(gateway_tls(authority)?);
        let rest = serve_rest(core, listeners.rest, tls, stopped);
        Ok(Self { stop, grpc, rest })
    }

    /// With certificates that were issued elsewhere. One port for whatever is called from outside: each call is
    /// authorised by the caller's certificate, and one without, which enrolment is, by having none.
    pub(crate) fn of_files(core: &Core, listeners: FrontListeners, tls: FrontTls, domain: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        core.evidence.trust.hurry_when(stopped.clone());
        let router = server_builder()
            .layer(TraceServer)
            .layer(Authorise::by_certificate(domain))
            .add_service(core.ingest.agent_server())
            .add_service(core.ingest.catalogue_server())
            .add_service(core.evidence.storage.server())
            .add_service(core.evidence.trust.server());
        let clients = ServerTls { files: tls.grpc, clients: ClientCertificates::Optional };
        let until = stopped.clone();
        let grpc =
            tokio::spawn(
                async move { Ok(openarchive_rpc::serve(listeners.grpc, router, clients, until).await?) },
            );
        let rest = serve_rest(core, listeners.rest, GatewayTls::Reloading(tls.rest), stopped);
        Self { stop, grpc, rest }
    }

    /// Turns true when the sockets are about to close.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Which socket is served no more although nobody has closed it.
    fn failure(&self) -> Option<String> {
        let gone =
            [("gateway", &self.rest), ("gRPC", &self.grpc)].into_iter().find(|(_, task)| task.is_finished());
        gone.map(|(what, _)| format!("the {what} listener has ended by itself: the lines of the log say why"))
    }

    /// Closes the sockets and lets calls in hand end.
    pub(crate) async fn drain(self) {
        let _ = self.stop.send(true);
        for (what, served) in [("gateway", self.rest.await), ("gRPC", self.grpc.await)] {
            match served {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, what, "a listener ends badly"),
                Err(error) => error!(%error, what, "a listener ends badly"),
            }
        }
    }
}

/// Why the process has to end although nobody asks it to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing in hand can end any more: who waits for a connection waits for longer than a stop does. So this is a crash,
    /// and the next start recovers as from any other.
    Database(String),
    /// The rest still ends in order.
    Listener(String),
}

/// Returns once the database or one of the sockets is gone.
pub(crate) async fn failure(database: &mut Database, front: &Front) -> Failure {
    loop {
        if let Some(why) = database.failure() {
            return Failure::Database(why);
        }
        if let Some(why) = front.failure() {
            return Failure::Listener(why);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn serve_rest(
    core: &Core,
    listener: TcpListener,
    tls: GatewayTls,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<anyhow::Result<()>> {
    let router = core.gateway();
    tokio::spawn(
        async move { Ok(openarchive_gateway::serve(listener, Some(tls), router, told(stopped)).await?) },
    )
}

/// Ends when `stopped` turns true, or nobody is left who could turn it.
pub(crate) async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// TLS for the gateway with a certificate of the archive's own authority.
fn gateway_tls(authority: &Authority) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let Identity { certificate, key } = authority.server("gateway")?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use anyhow::bail;

    use super::*;

    type Served = JoinHandle<anyhow::Result<()>>;

    /// What is said of a core whose sockets are served by these tasks.
    async fn check(rest: Served, grpc: Served, expected: Option<&str>) {
        let stop = watch::channel(false).0;
        let front = Front { stop, grpc, rest };
        while expected.is_some() && front.failure().is_none() {
            tokio::task::yield_now().await;
        }
        let said = front.failure();
        assert_eq!(said.as_deref().map(|why| why.split(" has ended").next().unwrap_or(why)), expected);
        front.rest.abort();
        front.grpc.abort();
        front.drain().await;
    }

    #[tokio::test]
    async fn a_listener_that_is_gone_is_named_however_it_ended() {
        let serves = || tokio::spawn(pending());
        check(serves(), serves(), None).await;
        check(tokio::spawn(async { bail!("broken") }), serves(), Some("the gateway listener")).await;
        check(serves(), tokio::spawn(async { Ok(()) }), Some("the gRPC listener")).await;
        let ends_badly = serves();
        ends_badly.abort();
        check(serves(), ends_badly, Some("the gRPC listener")).await;
    }
}
