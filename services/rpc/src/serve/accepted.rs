//! A connection whose handshake is done, as tonic takes it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

/// Length of what every HTTP/2 client says first (RFC 9113 section 3.4). Once it is there, pings find a dead peer.
const PREFACE_BYTES: usize = 24;

/// How long a connection that is over waits for its client to go too. A socket that is closed while something is still to
/// be read of it makes the kernel reset the connection, and the client lose the last answers and the GOAWAY.
const LINGER: Duration = Duration::from_secs(2);

/// A place among the connections, given back with the connection.
pub(super) type Room = Option<OwnedSemaphorePermit>;

/// Ends with an error when the server cuts it off, or when its client does not begin to speak HTTP/2 in time.
pub(super) struct Accepted {
    stream: TlsStream<TcpStream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Option<Silence>,
    /// Set once all has been said.
    linger: Option<Pin<Box<Sleep>>>,
    _room: Room,
}

struct Silence {
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Accepted {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        room: Room,
        cut: CancellationToken,
        deadline: Instant,
    ) -> Self {
        let silence = Silence { deadline: Box::pin(sleep_until(deadline)), bytes_left: PREFACE_BYTES };
        Self {
            stream,
            cut: Box::pin(cut.cancelled_owned()),
            silence: Some(silence),
            linger: None,
            _room: room,
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = TlsConnectInfo<TcpConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // HTTP/2 always waits for the next frame, so the cut is seen here.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(silence) = &mut self.silence
            && silence.deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(silence) = &mut self.silence {
            silence.bytes_left = silence.bytes_left.saturating_sub(buf.filled().len() - before);
            if silence.bytes_left == 0 {
                self.silence = None;
            }
        }
        read
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
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
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scrap = [0; 4096];
        loop {
            if linger.as_mut().poll(cx).is_ready() || this.cut.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut unread = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut *this.stream.get_mut().0).poll_read(cx, &mut unread));
            if read.is_err() || unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
