//! Accepting connections: who may have a session, and how many there are at a time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use openarchive_mail::journal::JournalMode;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{serve, turn_away},
    reply,
    session::Rules,
};
use crate::{
    accept::{Acceptor, Mode},
    config::Limits,
};

/// How long to wait when the system has no more sockets to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Clients that are being turned away at a time; more are dropped without a word.
const TURNED_AWAY_MAX: usize = 64;

/// Mail servers that journal in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub cidrs: Vec<IpNet>,
    pub mode: JournalMode,
}

/// What all sessions of a listener share.
pub struct ListenerContext {
    pub rules: Arc<Rules>,
    pub limits: Limits,
    /// The first that matches decides.
    pub peers: Vec<Peer>,
    pub tls: TlsAcceptor,
    pub acceptor: Acceptor,
}

impl ListenerContext {
    fn mode_of(&self, address: IpAddr) -> Option<JournalMode> {
        mode_of(&self.peers, address)
    }
}

fn mode_of(peers: &[Peer], address: IpAddr) -> Option<JournalMode> {
    peers.iter().find(|peer| peer.cidrs.iter().any(|cidr| cidr.contains(&address))).map(|peer| peer.mode)
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
    context: Arc<ListenerContext>,
}

impl Listener {
    pub async fn bind(name: String, address: SocketAddr, context: ListenerContext) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { name, socket, context: Arc::new(context) })
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
            let reply = match (self.context.mode_of(peer), Arc::clone(&places).try_acquire_owned()) {
                (Some(mode), Ok(place)) => {
                    let (context, stop) = (Arc::clone(&self.context), stop.clone());
                    sessions.spawn(async move {
                        tokio::select! {
                            () = serve(stream, peer, Mode::Journal(mode), context, stop.gently) => {}
                            () = stop.now.cancelled() => {}
                        }
                        drop(place);
                    });
                    continue;
                }
                (None, _) => {
                    tracing::warn!(listener = self.name, %peer, "refuses a client that no peer entry names");
                    reply::NOT_A_PEER
                }
                (Some(_), Err(_)) => {
                    tracing::warn!(listener = self.name, %peer, "refuses a client: too many connections");
                    reply::TOO_MANY_CONNECTIONS
                }
            };
            send_away(&sessions, &turned_away, stream, reply);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_peer_that_matches_decides_and_no_match_is_nobody() {
        let peer =
            |cidrs: &[&str], mode| Peer { cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(), mode };
        let peers = [
            peer(&["192.0.2.7/32", "2001:db8::/32"], JournalMode::JrnPlus),
            peer(&["192.0.2.0/24"], JournalMode::Plain),
            peer(&["192.0.2.8/32"], JournalMode::JrnPlus),
        ];
        let check = |address: &str, expected| {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(mode_of(&peers, address.to_canonical()), expected, "{address}");
        };
        check("192.0.2.7", Some(JournalMode::JrnPlus));
        check("::ffff:192.0.2.7", Some(JournalMode::JrnPlus));
        check("192.0.2.8", Some(JournalMode::Plain));
        check("2001:db8::1", Some(JournalMode::JrnPlus));
        check("198.51.100.1", None);
        check("::1", None);
    }
}
