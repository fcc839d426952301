//! The listening socket: TLS, HTTP/1.1, and every way in which a client can be slow.
//!
//! Own accept loop instead of `axum::serve`: that one sets no timer, so a client that never ends its headers would
//! hold its connection for ever.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use openarchive_rpc::ReloadingCertificate;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::stalled_write::StalledWrite;

/// Most connections at a time; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 1024;
/// Longest TLS handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time from the beginning of a connection, or from the answer before, to the end of a request's headers.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time in which a client takes nothing of its answer.
pub const WRITE_STALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest time that a stop waits for answers on their way.
pub const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause after the socket could not accept, so that a lack of file descriptors is not met with a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The certificate that people and programs see.
#[derive(Clone)]
pub enum GatewayTls {
    /// For as long as the process runs. HTTP/1.1 only, so its ALPN may name nothing else.
    Fixed(Arc<rustls::ServerConfig>),
    /// From files: each connection gets the one of then.
    Reloading(Arc<ReloadingCertificate>),
}

impl GatewayTls {
    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(match self {
            Self::Fixed(config) => config.clone(),
            Self::Reloading(certificate) => certificate.server_config(),
        })
    }
}

/// Serves until `shutdown` ends: over TLS if a certificate is given, in clear otherwise. Then no connection is taken any more, idle ones are closed, answers on their way have
/// [`SHUTDOWN_TIME_MAX`].
pub async fn serve(
    listener: TcpListener,
    tls: Option<GatewayTls>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(());
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, permit))
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Only forgets those that have ended.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accepted => match accepted {
                Ok((stream, permit)) => {
                    let (tls, router, stopped) =
                        (tls.as_ref().map(GatewayTls::acceptor), router.clone(), stopped.clone());
                    connections.spawn(connection(stream, permit, tls, router, stopped));
                }
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop((listener, stop));
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_TIME_MAX, all_ended).await.is_err() {
        warn!(connections = connections.len(), "answers on their way are cut off");
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut stopped: watch::Receiver<()>,
) {
    // Small answers leave at once; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let stream = StalledWrite::new(stream, WRITE_STALL_TIME_MAX);
    let Some(acceptor) = tls else { return speak(stream, router, stopped).await };
    let handshake = tokio::select! {
        _ = stopped.changed() => return,
        handshake = timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => speak(stream, router, stopped).await,
        Ok(Err(error)) => debug!(%error, "a TLS handshake fails"),
        Err(_) => debug!("a TLS handshake takes too long"),
    }
}

/// HTTP until the client goes or the server stops.
async fn speak<S>(stream: S, router: Router, mut stopped: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    let mut talk = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = &mut talk => ended,
        // Ends with an error: the sender is gone.
        _ = stopped.changed() => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection breaks off");
    }
}
