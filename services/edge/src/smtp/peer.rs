//! Who may deliver, how that is read, and how much of it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use openarchive_mail::journal::JournalMode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{limits::PEER_CONNECTIONS_MAX, rate::Rate, reply, reply::Reply};

/// Mail servers that journal in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub cidrs: Vec<IpNet>,
    pub mode: JournalMode,
    pub limits: PeerLimits,
}

/// What the clients of one peer entry may do, all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLimits {
    /// Sessions at a time.
    pub connections_max: usize,
    /// New sessions, up to [`super::RATE_PER_MINUTE_MAX`]; `None`: as many as come.
    pub connections_per_minute: Option<u32>,
    /// Mails begun (MAIL), up to [`super::RATE_PER_MINUTE_MAX`]; `None`: as many as come.
    pub mails_per_minute: Option<u32>,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { connections_max: PEER_CONNECTIONS_MAX, connections_per_minute: None, mails_per_minute: None }
    }
}

/// The peers of a listener, with what they have used of their limits.
#[derive(Debug)]
pub(super) struct Peers(Vec<Arc<PeerUse>>);

#[derive(Debug)]
pub(super) struct PeerUse {
    peer: Peer,
    places: Arc<Semaphore>,
    connections: Option<Mutex<Rate>>,
    mails: Option<Mutex<Rate>>,
}

/// A client that got a session; it holds its place as long as this lives.
#[derive(Debug)]
pub(super) struct Admitted {
    peer: Arc<PeerUse>,
    _place: OwnedSemaphorePermit,
}

impl Peers {
    pub(super) fn new(peers: Vec<Peer>) -> Self {
        let rate = |per_minute: Option<u32>| per_minute.map(|number| Mutex::new(Rate::new(number)));
        let peers = peers.into_iter().map(|peer| {
            Arc::new(PeerUse {
                places: Arc::new(Semaphore::new(peer.limits.connections_max.min(Semaphore::MAX_PERMITS))),
                connections: rate(peer.limits.connections_per_minute),
                mails: rate(peer.limits.mails_per_minute),
                peer,
            })
        });
        Self(peers.collect())
    }

    /// The first entry that matches decides. The error is what the client is told.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Result<Admitted, Reply> {
        let matches = |peer: &&Arc<PeerUse>| peer.peer.cidrs.iter().any(|cidr| cidr.contains(&address));
        let peer = self.0.iter().find(matches).ok_or(reply::NOT_A_PEER)?;
        let place =
            Arc::clone(&peer.places).try_acquire_owned().map_err(|_| reply::TOO_MANY_PEER_CONNECTIONS)?;
        if !take(peer.connections.as_ref(), now) {
            return Err(reply::CONNECTIONS_TOO_FAST);
        }
        Ok(Admitted { peer: Arc::clone(peer), _place: place })
    }
}

impl Admitted {
    pub(super) fn mode(&self) -> JournalMode {
        self.peer.peer.mode
    }

    /// Whether one more mail may be begun now; if so, it is counted.
    pub(super) fn may_begin_mail(&self, now: Instant) -> bool {
        take(self.peer.mails.as_ref(), now)
    }
}

fn take(rate: Option<&Mutex<Rate>>, now: Instant) -> bool {
    rate.is_none_or(|rate| rate.lock().unwrap_or_else(PoisonError::into_inner).take(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(cidrs: &[&str], mode: JournalMode, limits: PeerLimits) -> Peer {
        Peer { cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(), mode, limits }
    }

    fn limited(limits: PeerLimits) -> Peers {
        Peers::new(vec![
            peer(&["192.0.2.0/24"], JournalMode::Plain, limits),
            peer(&["0.0.0.0/0"], JournalMode::Plain, PeerLimits::default()),
        ])
    }

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";
    const ELSEWHERE: &str = "198.51.100.1";

    fn admit(peers: &Peers, address: &str) -> Result<Admitted, Reply> {
        peers.admit(address.parse().unwrap(), Instant::now())
    }

    #[test]
    fn the_first_peer_that_matches_decides_and_no_match_is_nobody() {
        let limits = PeerLimits::default;
        let peers = Peers::new(vec![
            peer(&["192.0.2.7/32", "2001:db8::/32"], JournalMode::JrnPlus, limits()),
            peer(&["192.0.2.0/24"], JournalMode::Plain, limits()),
            peer(&["192.0.2.8/32"], JournalMode::ExchangeReport, limits()),
        ]);
        let check = |address: &str, expected| {
            let address: IpAddr = address.parse().unwrap();
            let mode = peers.admit(address.to_canonical(), Instant::now()).ok().map(|found| found.mode());
            assert_eq!(mode, expected, "{address}");
        };
        check("192.0.2.7", Some(JournalMode::JrnPlus));
        check("::ffff:192.0.2.7", Some(JournalMode::JrnPlus));
        check("192.0.2.8", Some(JournalMode::Plain));
        check("2001:db8::1", Some(JournalMode::JrnPlus));
        check("198.51.100.1", None);
        check("::1", None);
    }

    #[test]
    fn the_clients_of_a_peer_share_its_places_and_another_peer_has_its_own() {
        let peers = limited(PeerLimits { connections_max: 2, ..PeerLimits::default() });
        let (first, _second) = (admit(&peers, A).unwrap(), admit(&peers, B).unwrap());
        assert_eq!(admit(&peers, A).err(), Some(reply::TOO_MANY_PEER_CONNECTIONS));
        assert!(admit(&peers, ELSEWHERE).is_ok());
        drop(first);
        assert!(admit(&peers, A).is_ok());
    }

    #[test]
    fn new_sessions_and_mails_have_a_rate_each() {
        let peers = limited(PeerLimits {
            connections_per_minute: Some(2),
            mails_per_minute: Some(1),
            ..PeerLimits::default()
        });
        let now = Instant::now();
        let admit = |address: &str, seconds: u64| {
            peers.admit(address.parse().unwrap(), now + std::time::Duration::from_secs(seconds))
        };
        let (first, second) = (admit(A, 0).unwrap(), admit(B, 0).unwrap());
        assert_eq!(admit(A, 0).err(), Some(reply::CONNECTIONS_TOO_FAST));
        assert!(admit(A, 31).is_ok());
        assert!(first.may_begin_mail(now) && !second.may_begin_mail(now), "the peer's clients share it");
        let elsewhere = admit(ELSEWHERE, 0).unwrap();
        assert!((0..1000).all(|_| elsewhere.may_begin_mail(now)), "no rate is no limit");
    }
}
