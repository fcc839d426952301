//! The listening socket of a gRPC server: TLS with the certificate of now, every way in which a client can be slow, and
//! an end that cuts off nobody who is on the way.
//!
//! Own accept loop instead of tonic's: that one keeps its certificate for ever and counts nothing. HTTP/2 is tonic's.

mod accepted;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service, StdError},
    service::Routes,
    transport::{Server, server::Router},
};
use tower::Layer;
use tracing::{debug, warn};

use self::accepted::{Accepted, Room};
use crate::tls::{ClientCertificates, ReloadingTls};

/// Most connections of a server at a time; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 1024;
/// Most connections at a time that have not finished their handshake.
pub const HANDSHAKES_AT_ONCE_MAX: usize = 128;
/// Longest time, in seconds, from a connection's beginning to its first HTTP/2 bytes.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Longest time, in seconds, that a stop waits for calls in hand. Below the 30 that Kubernetes gives a pod to end.
pub const DRAIN_SECONDS_MAX: u64 = 25;
/// Age, in seconds, at which a connection is asked to end (GOAWAY) when its calls have: so that both sides' certificates
/// are checked again, and new replicas get their share.
pub const CONNECTION_AGE_SECONDS_MAX: u64 = 600;
/// Most calls at a time on one connection; further ones wait in the client.
pub const CALLS_PER_CONNECTION_MAX: u32 = 256;

/// A connection on which nothing moves is tried this often, and given up if it does not answer in time.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// Flow control: what a client may send before the service has taken it, for each call and for all of a connection. Many
/// times the one for the other, so that a few slow calls do not hold up the rest.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Pause after the socket could not accept, so that a lack of file descriptors is not met with a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    pub connections: usize,
    pub handshakes_at_once: usize,
    pub handshake: Duration,
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            handshakes_at_once: HANDSHAKES_AT_ONCE_MAX,
            handshake: Duration::from_secs(HANDSHAKE_SECONDS_MAX),
            drain: Duration::from_secs(DRAIN_SECONDS_MAX),
        }
    }
}

/// How a listener shows itself, and whom it lets in.
#[derive(Clone)]
pub struct ServerTls {
    pub files: Arc<ReloadingTls>,
    pub clients: ClientCertificates,
}

/// What every server over a socket begins with: windows, pings, and the greatest age of a connection. Layers and services
/// are added to it.
pub fn server_builder() -> Server {
    Server::builder()
        .max_connection_age(Duration::from_secs(CONNECTION_AGE_SECONDS_MAX))
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_PATIENCE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Serves `router` on `listener` until `stop` turns true or its sender is gone. Then the port is closed, clients are asked
/// to go elsewhere, and calls in hand have [`DRAIN_SECONDS_MAX`] to end; what remains is cut off.
///
/// The service finds the client's certificates by `Request::peer_certs`. Dropped, it cuts off everything at once.
pub async fn serve<L, B>(
    listener: TcpListener,
    router: Router<L>,
    tls: ServerTls,
    stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error>
where
    L: Layer<Routes>,
    L::Service: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    <L::Service as Service<http::Request<Body>>>::Future: Send,
    <L::Service as Service<http::Request<Body>>>::Error: Into<StdError> + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    serve_within(ServeLimits::default(), listener, router, tls, stop).await
}

/// [`serve`] with other limits.
pub async fn serve_within<L, B>(
    limits: ServeLimits,
    listener: TcpListener,
    router: Router<L>,
    tls: ServerTls,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error>
where
    L: Layer<Routes>,
    L::Service: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    <L::Service as Service<http::Request<Body>>>::Future: Send,
    <L::Service as Service<http::Request<Body>>>::Error: Into<StdError> + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    let (hand_over, opened) = mpsc::channel(1);
    let door = Door { limits, tls, hand_over, cut };
    let accepting = door.accept(listener, stop.clone());
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let opened = ReceiverStream::new(opened).map(Ok::<_, Infallible>);
    let mut serving = pin!(router.serve_with_incoming_shutdown(opened, stopped));
    tokio::select! {
        ended = &mut serving => return ended,
        () = accepting => {}
    }
    timeout_at(Instant::now() + limits.drain, serving).await.unwrap_or_else(|_| {
        warn!("calls in hand are cut off: they outlast the time that a stop waits");
        Ok(())
    })
}

struct Door {
    limits: ServeLimits,
    tls: ServerTls,
    hand_over: mpsc::Sender<Accepted>,
    cut: CancellationToken,
}

impl Door {
    /// Accepts until `stop`; the listener and unfinished handshakes go with it.
    async fn accept(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes_at_once));
        let mut opening = JoinSet::new();
        let mut stopped = pin!(async {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        loop {
            let accepted = async {
                // Neither is ever closed.
                let room = connections.clone().acquire_owned().await;
                let turn = handshakes.clone().acquire_owned().await;
                (room, turn, listener.accept().await)
            };
            tokio::select! {
                biased;
                () = &mut stopped => break,
                // Only forgets those that have ended.
                Some(_) = opening.join_next(), if !opening.is_empty() => {}
                (room, turn, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let handshake = self.handshake(stream, room.ok());
                        opening.spawn(async move {
                            let _turn = turn;
                            handshake.await;
                        });
                    }
                    Err(error) => {
                        warn!(%error, "a connection cannot be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn handshake(&self, stream: TcpStream, room: Room) -> impl Future<Output = ()> + Send + use<> {
        let deadline = Instant::now() + self.limits.handshake;
        let acceptor = TlsAcceptor::from(self.tls.files.server_config(self.tls.clients));
        let (hand_over, cut) = (self.hand_over.clone(), self.cut.clone());
        async move {
            // Small answers leave at once; without it they are only slower.
            let _ = stream.set_nodelay(true);
            match timeout_at(deadline, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // Fails when the server has stopped meanwhile.
                    let _ = hand_over.send(Accepted::new(stream, room, cut, deadline)).await;
                }
                Ok(Err(error)) => debug!(%error, "a TLS handshake fails"),
                Err(_) => debug!("a TLS handshake takes too long"),
            }
        }
    }
}
