//! One session over a socket: reads, writes, deadlines, TLS, and what it asks of the acceptor.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    limits::{
        BODY_BYTES_PER_SECOND_MIN, BODY_READ_BYTES, COMMAND_READ_BYTES, LINGER_BYTES_MAX, LINGER_TIMEOUT,
        WRITE_TIMEOUT,
    },
    listener::ListenerContext,
    peer::Admitted,
    reply::{self, Reply},
    session::{Delivery, Room, Session, Step, Transaction},
};
use crate::{
    accept::{Arrival, Kept, Mode},
    buffer::Expected,
    spool::Spool,
};

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Replies are gathered up to this many bytes of capacity between two writes; more is given back.
const OUTPUT_BYTES_KEPT: usize = 512;

struct Connection {
    context: Arc<ListenerContext>,
    peer: IpAddr,
    admitted: Admitted,
    stopping: CancellationToken,
    session: Session,
    input: BytesMut,
    output: Vec<u8>,
    spool: Spool,
    expected: Option<Expected>,
    /// Since when the client owes us a whole command, or the end of its mail.
    waiting_since: Instant,
}

/// Why a read brought nothing.
enum NoInput {
    Gone,
    TimedOut,
    Stopping,
}

/// Serves one client until it leaves or is sent away. I/O errors end it: the client tries again.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    admitted: Admitted,
    context: Arc<ListenerContext>,
    stopping: CancellationToken,
) {
    let mut connection = Connection {
        session: Session::new(Arc::clone(&context.rules)),
        spool: Spool::new(context.acceptor.buffer().spool_dir()),
        context,
        peer,
        admitted,
        stopping,
        input: BytesMut::new(),
        output: Vec::new(),
        expected: None,
        waiting_since: Instant::now(),
    };
    connection.session.greet(&mut connection.output);
    if let Err(error) = connection.run(Either::Left(stream)).await {
        tracing::debug!(%error, "a session ends early");
    }
}

/// Says one thing to a client that gets no session.
pub(super) async fn turn_away(mut stream: TcpStream, reply: &Reply) {
    let mut out = Vec::new();
    reply.write(&mut out);
    if let Ok(Ok(())) = timeout(LINGER_TIMEOUT, stream.write_all(&out)).await {
        linger(&mut Either::Left(stream)).await;
    }
}

impl Connection {
    async fn run(&mut self, mut stream: Stream) -> io::Result<()> {
        loop {
            let taken_before = self.session.units_taken();
            let (context, admitted) = (&self.context, &self.admitted);
            let mut room = || match context.acceptor.buffer().has_room() {
                false => Room::None,
                true if admitted.may_begin_mail(Instant::now()) => Room::Enough,
                true => Room::NotNow,
            };
            let (taken, step) =
                self.session.advance(&self.input, &mut room, &mut self.output, self.spool.tail());
            self.input.advance(taken);
            if self.session.units_taken() != taken_before {
                self.waiting_since = Instant::now();
            }
            match step {
                Step::Read => {
                    self.settle().await;
                    self.flush(&mut stream).await?;
                    if let Err(end) = self.read(&mut stream).await? {
                        return self.leave(&mut stream, end).await;
                    }
                }
                Step::Deliver(transaction) => self.deliver(transaction).await,
                Step::Discard => self.forget_body(),
                Step::StartTls => stream = self.start_tls(stream).await?,
                Step::Close => {
                    self.flush(&mut stream).await?;
                    linger(&mut stream).await;
                    return Ok(());
                }
            }
        }
    }

    async fn settle(&mut self) {
        if let Err(error) = self.spool.settle().await {
            tracing::error!(%error, "a mail cannot be spooled and is refused for now");
            self.session.refuse_body();
            self.forget_body();
        }
    }

    fn forget_body(&mut self) {
        self.spool = Spool::new(self.context.acceptor.buffer().spool_dir());
    }

    async fn deliver(&mut self, transaction: Transaction) {
        let buffer = self.context.acceptor.buffer();
        let message = std::mem::replace(&mut self.spool, Spool::new(buffer.spool_dir()));
        let Transaction { from, to } = transaction;
        let peer = self.peer.to_string();
        let mode = Mode::Journal(self.admitted.mode());
        let arrival = Arrival { message, from, rcpt: to, peer, mode, progress: None };
        let delivery = match self.context.acceptor.accept(arrival).await {
            Ok(Kept { seat, journaled }) => Delivery::Kept { first: seat.seq, last: seat.seq + journaled },
            Err(error) if error.is_lack_of_room() => {
                tracing::warn!(%error, "a mail is refused for now");
                Delivery::NoRoom
            }
            Err(error) => {
                tracing::error!(%error, "a mail cannot be kept and is refused for now");
                Delivery::Failed
            }
        };
        self.session.delivered(delivery, &mut self.output);
        self.expected = None;
        self.waiting_since = Instant::now();
    }

    async fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        timeout(WRITE_TIMEOUT, async {
            stream.write_all(&self.output).await?;
            stream.flush().await
        })
        .await??;
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_KEPT);
        Ok(())
    }

    async fn read(&mut self, stream: &mut Stream) -> io::Result<Result<(), NoInput>> {
        if !self.session.has_mail_coming() {
            self.expected = None;
        } else if self.expected.is_none() {
            self.expected = Some(self.context.acceptor.buffer().expect_mail());
        }
        let limits = &self.context.limits;
        let (bytes, allowed) = match self.session.body_bytes() {
            Some(received) => {
                let more = Duration::from_secs(received / BODY_BYTES_PER_SECOND_MIN);
                (BODY_READ_BYTES, limits.body_timeout + more)
            }
            None => (COMMAND_READ_BYTES, limits.command_timeout),
        };
        if self.input.is_empty() && self.input.capacity() > bytes {
            self.input = BytesMut::new();
        }
        self.input.reserve(bytes);
        let deadline = self.waiting_since + allowed;
        let may_stop = !self.session.is_receiving();
        let read = tokio::select! {
            biased;
            () = self.stopping.cancelled(), if may_stop => return Ok(Err(NoInput::Stopping)),
            read = timeout_at(deadline, stream.read_buf(&mut self.input)) => read,
        };
        Ok(match read {
            Ok(Ok(0)) => Err(NoInput::Gone),
            Ok(read) => {
                read?;
                Ok(())
            }
            Err(_) => Err(NoInput::TimedOut),
        })
    }

    async fn leave(&mut self, stream: &mut Stream, end: NoInput) -> io::Result<()> {
        match end {
            NoInput::Gone => return Ok(()),
            NoInput::TimedOut => reply::TIMED_OUT.write(&mut self.output),
            NoInput::Stopping => reply::SHUTTING_DOWN.write(&mut self.output),
        }
        self.flush(stream).await?;
        linger(stream).await;
        Ok(())
    }

    async fn start_tls(&mut self, mut stream: Stream) -> io::Result<Stream> {
        self.flush(&mut stream).await?;
        let (Either::Left(tcp), true) = (stream, self.input.is_empty()) else {
            return Err(io::Error::other("STARTTLS on a session that cannot start it"));
        };
        let handshake = Box::pin(TlsAcceptor::from(self.context.tls.server_config()).accept(tcp));
        let encrypted = timeout(self.context.limits.tls_handshake_timeout, handshake).await??;
        self.session.encrypted();
        self.waiting_since = Instant::now();
        Ok(Either::Right(Box::new(encrypted)))
    }
}

/// Ends our side and reads on for a moment: closing a socket with unread input makes the kernel throw our last reply
/// away at the client.
async fn linger(stream: &mut Stream) {
    let drain = async {
        stream.shutdown().await?;
        let (mut piece, mut total) = ([0; 1024], 0);
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut piece).await? {
                0 => break,
                bytes => total += bytes,
            }
        }
        io::Result::Ok(())
    };
    // Whether it works or not, the connection is over.
    let _ = timeout(LINGER_TIMEOUT, drain).await;
}
