//! Accepting connections: who may have a session, and how many there are at a time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use openarchive_rpc::ReloadingCertificate;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{serve, turn_away},
    peer::{Admitted, Peer, Peers},
    reply,
    session::Rules,
};
use crate::{
    accept::Acceptor,
    config::{Intake, Limits},
};

/// How long to wait when the system has no more sockets to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Clients that are being turned away at a time; more are dropped without a word.
const TURNED_AWAY_MAX: usize = 64;

/// What all sessions of a listener share.
pub struct ListenerContext {
    pub rules: Arc<Rules>,
    pub limits: Limits,
    pub tls: Arc<ReloadingCertificate>,
    pub intake: Intake,
    pub acceptor: Acceptor,
}

/// How sessions are told to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// No new sessions; idle ones end, and those within a mail when it is answered.
    pub gently: CancellationToken,
    /// All end where they are. A mail that was not answered is sent again.
    pub now: CancellationToken,
}

/// A bound socket.
pub struct Listener {
    name: String,
    socket: TcpListener,
    peers: Peers,
    context: Arc<ListenerContext>,
}

impl Listener {
    /// Of `peers` the first that matches decides.
    pub async fn bind(
        name: String,
        address: SocketAddr,
        peers: Vec<Peer>,
        context: ListenerContext,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { name, socket, peers: Peers::new(peers), context: Arc::new(context) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that was bound, with the port the system chose if 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until it is to stop; sessions run as tasks of `sessions`.
    pub async fn run(self, sessions: TaskTracker, stop: Stop) {
        let places = Arc::new(Semaphore::new(self.context.limits.connections_max));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.gently.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            // Replies are gathered before they are written; waiting for more would only add time.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot turn Nagle's algorithm off");
            }
            let peer = address.ip().to_canonical();
            let reply = match self.admit(peer, &places) {
                Ok((admitted, place)) => {
                    let (context, stop) = (Arc::clone(&self.context), stop.clone());
                    sessions.spawn(async move {
                        tokio::select! {
                            () = serve(stream, peer, admitted, context, stop.gently) => {}
                            () = stop.now.cancelled() => {}
                        }
                        drop(place);
                    });
                    continue;
                }
                Err(reply) => reply,
            };
            tracing::warn!(listener = self.name, %peer, code = reply.code, why = %reply.text, "refuses a client");
            send_away(&sessions, &turned_away, stream, reply);
        }
    }

    /// What a session holds as long as it lasts. The error is what the client is told.
    fn admit(
        &self,
        peer: IpAddr,
        places: &Arc<Semaphore>,
    ) -> Result<(Admitted, OwnedSemaphorePermit), reply::Reply> {
        if self.context.intake == Intake::Draining {
            return Err(reply::DRAINING);
        }
        let admitted = self.peers.admit(peer, Instant::now())?;
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| reply::TOO_MANY_CONNECTIONS)?;
        Ok((admitted, place))
    }
}

fn send_away(sessions: &TaskTracker, places: &Arc<Semaphore>, stream: TcpStream, reply: reply::Reply) {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        sessions.spawn(async move {
            turn_away(stream, &reply).await;
            drop(place);
        });
    }
}
