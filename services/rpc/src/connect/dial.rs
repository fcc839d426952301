//! One connection to one address.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Pace, lent::Lent};
use crate::tls::ReloadingTls;

/// Longest time to connect, in seconds: TCP, TLS, and the server's first word in HTTP/2.
pub const CONNECT_SECONDS_MAX: u64 = 5;
/// The same over a far line.
pub const CONNECT_FAR_SECONDS_MAX: u64 = 15;

/// Flow control: what a server may send before the caller has taken it, for each call and for all of a connection. Many
/// times the one for the other, so that a few callers that are slow to take their answers do not hold up the rest.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

pub(super) type Sender = http2::SendRequest<Lent>;

pub(super) struct Connection {
    pub(super) sender: Sender,
    /// Ends when no further call can be sent; calls in hand go on.
    pub(super) ended: JoinHandle<()>,
}

/// What all connections of a channel have in common.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) tls: Arc<ReloadingTls>,
    pub(super) pace: Pace,
}

impl Dialer {
    /// Connects with the client certificate of now. The error is for people.
    pub(super) async fn dial(
        &self,
        address: SocketAddr,
        name: ServerName<'static>,
    ) -> Result<Connection, String> {
        let within = self.pace.connect;
        timeout(within, self.open(address, name))
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {} seconds", within.as_secs())))
    }

    async fn open(&self, address: SocketAddr, name: ServerName<'static>) -> Result<Connection, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        // Small requests leave at once; without it they are only slower.
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(self.tls.client_config());
        let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        let (stream, first_word) = FirstRead::of(stream);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(self.pace.ping)
            .keep_alive_timeout(self.pace.ping_patience)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP/2: {error}"))?;
        let ended = tokio::spawn(async move {
            // Why it ended is seen by the calls that it had in hand.
            let _ = connection.await;
        });
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        match first_word.await {
            Ok(Ok(())) => Ok(Connection { sender, ended }),
            Ok(Err(error)) => Err(format!("TLS: {error}")),
            Err(_) => Err("the server closed the connection before HTTP/2 began".to_owned()),
        }
    }
}

/// Says when the other side has said something, or that it will not.
struct FirstRead<S> {
    stream: S,
    first: Option<oneshot::Sender<io::Result<()>>>,
}

impl<S> FirstRead<S> {
    fn of(stream: S) -> (Self, oneshot::Receiver<io::Result<()>>) {
        let (first, told) = oneshot::channel();
        (Self { stream, first: Some(first) }, told)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstRead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(read) = &read
            && let Some(first) = self.first.take()
        {
            let _ = first.send(match read {
                Ok(()) if buf.filled().len() > before => Ok(()),
                Ok(()) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstRead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
