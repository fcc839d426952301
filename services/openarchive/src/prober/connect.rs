//! The connections themselves.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use openarchive_telemetry::http_get;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use super::judge::{Canary, Listed, Tried};

/// Longest wait for one connection and what is said over it.
pub(super) const CONNECT_SECONDS_MAX: u64 = 2;
/// Longest answer of a peer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Most peers of one round; there is one where the operator runs two probers.
const PEERS_MAX: usize = 32;

/// The ports of every prober.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) listed: u16,
    pub(super) canary: u16,
}

/// Of a peer's answer, what counts here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Says {
    canary_port: u16,
}

/// Tries both ports of one peer.
pub(super) async fn try_peer(peer: IpAddr, ports: Ports) -> Tried {
    // Before and after: a peer that comes or goes meanwhile refuses as if a policy kept it apart.
    let before = listed(peer, ports).await;
    let canary = canary(SocketAddr::new(peer, ports.canary)).await;
    let after = listed(peer, ports).await;
    Tried { listed: before.max(after), canary }
}

async fn listed(peer: IpAddr, ports: Ports) -> Listed {
    let answer = timeout(Duration::from_secs(CONNECT_SECONDS_MAX), async {
        let stream = TcpStream::connect((peer, ports.listed)).await?;
        http_get(stream, "prober", "/verdict", None, ANSWER_BYTES_MAX).await
    });
    match answer.await {
        Ok(Ok((_, body))) => match serde_json::from_str::<Says>(&body) {
            Ok(says) if says.canary_port == ports.canary => Listed::Answers,
            _ => Listed::Strange,
        },
        _ => Listed::Silent,
    }
}

async fn canary(address: SocketAddr) -> Canary {
    match timeout(Duration::from_secs(CONNECT_SECONDS_MAX), TcpStream::connect(address)).await {
        Ok(Ok(_)) => Canary::CameThrough,
        Err(_) => Canary::Denied,
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut => Canary::Denied,
            // Such as a lack of file descriptors.
            _ => Canary::Untried,
        },
    }
}

/// Who is to be tried, of all that the names stand for.
pub(super) fn others(mut found: Vec<IpAddr>, is_own: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    found.sort_unstable();
    found.dedup();
    found.retain(|address| !is_own(*address));
    found.truncate(PEERS_MAX);
    found
}

/// Whether `address` is this process's, which listens at `listening`.
pub(super) fn is_own(listening: IpAddr, address: IpAddr) -> bool {
    if !listening.is_unspecified() {
        return listening == address;
    }
    // What this host would call itself on the way there. Nothing is sent.
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 1))?;
        socket.local_addr()
    });
    asked.is_ok_and(|own| own.ip() == address)
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use openarchive_telemetry::{AdminServer, Readiness};
    use tokio::{
        net::{TcpListener, TcpSocket},
        sync::watch,
    };

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A listed port that says `text`; never stopped.
    async fn peer_that_says(text: String) -> u16 {
        let listener = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().route("/verdict", get(async || text));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let _stop = stop;
            AdminServer::new(Readiness::new()).with(routes).serve(listener, stopped).await;
        });
        port
    }

    /// A port that is ours and where nobody listens.
    fn refusing() -> (TcpSocket, u16) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((HOST, 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    async fn tried(listed: u16, canary: u16) -> Tried {
        try_peer(HOST, Ports { listed, canary }).await
    }

    #[tokio::test]
    async fn a_canary_that_is_reached_came_through() {
        let canary = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = canary.local_addr().unwrap().port();
        let listed = peer_that_says(format!("{{\"canaryPort\": {port}}}")).await;
        assert_eq!(tried(listed, port).await, Tried { listed: Listed::Answers, canary: Canary::CameThrough });
    }

    /// As an engine looks that rejects: the peer says that it listens, and the connection is refused.
    #[tokio::test]
    async fn a_refusal_is_a_denial_where_the_peer_says_that_its_canary_listens() {
        let (_socket, port) = refusing();
        let says = peer_that_says(format!("{{\"canaryPort\": {port}}}")).await;
        assert_eq!(tried(says, port).await, Tried { listed: Listed::Answers, canary: Canary::Denied });
        for strange in [format!("{{\"canaryPort\": {}}}", port ^ 1), "hello".to_owned()] {
            let listed = peer_that_says(strange).await;
            assert_eq!(tried(listed, port).await.listed, Listed::Strange);
        }
        let (_other, nobody) = refusing();
        assert_eq!(tried(nobody, port).await, Tried { listed: Listed::Silent, canary: Canary::Denied });
    }

    /// As an engine looks that drops.
    #[tokio::test]
    async fn a_connection_that_is_never_answered_is_denied() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((HOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        // The kernel drops what the full queue has no room for.
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        assert_eq!(canary(address).await, Canary::Denied);
    }

    #[test]
    fn a_prober_leaves_out_itself_and_tries_nobody_twice() {
        let address = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let found = vec![address(3), address(1), address(2), address(3)];
        assert_eq!(others(found, |one| one == address(2)), [address(1), address(3)]);
        for (number, tried) in [(PEERS_MAX, PEERS_MAX), (PEERS_MAX + 1, PEERS_MAX)] {
            let found = (0..number).map(|last| address(u8::try_from(last).unwrap())).collect();
            assert_eq!(others(found, |_| false).len(), tried);
        }
        assert!(is_own(address(1), address(1)) && !is_own(address(1), address(2)));
        let any = Ipv4Addr::UNSPECIFIED.into();
        assert!(is_own(any, HOST) && !is_own(any, "192.0.2.1".parse().unwrap()));
    }
}
