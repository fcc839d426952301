//! The replicas behind a channel's targets, and the connection to each.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use rustls_pki_types::ServerName;
use tokio::{
    net::lookup_host,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    dial::{Dialer, Sender},
    target::Target,
};

/// Names are looked up again this often, and sooner when a connection ends.
pub const RESOLVE_SECONDS: u64 = 10;

/// Shortest time between two lookups.
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);
/// Longest time for one lookup.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before an address that could not be reached is tried again; doubled each time, up to the second.
const REDIAL_PAUSE: Duration = Duration::from_millis(100);
const REDIAL_PAUSE_LONGEST: Duration = Duration::from_secs(2);
/// A connection that ends sooner is not made again at once: the server may close each one.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// An address of the target with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) target: usize,
    pub(super) address: SocketAddr,
}

pub(super) enum Link {
    Connecting,
    Up(Sender),
    /// Why there is no connection.
    Down(String),
}

#[derive(Default)]
pub(super) struct Members {
    pub(super) links: BTreeMap<Member, Link>,
    /// Why a target has no address, by its number.
    unknown: BTreeMap<usize, String>,
    looked_up: bool,
}

pub(super) enum Pick {
    Use(Member, Sender),
    /// It will be known soon.
    Wait,
    /// Nobody can be reached, and why.
    Nobody(String),
}

impl Members {
    /// The replica for the call with this number.
    pub(super) fn pick(&self, call: usize) -> Pick {
        let up = || {
            self.links.iter().filter_map(|(member, link)| match link {
                Link::Up(sender) if !sender.is_closed() => Some((member, sender)),
                _ => None,
            })
        };
        let count = up().count();
        if let Some((member, sender)) = up().nth(call.checked_rem(count).unwrap_or(0)) {
            return Pick::Use(*member, sender.clone());
        }
        let reasons = self.links.iter().map(|(member, link)| match link {
            Link::Down(why) => Some(format!("{}: {why}", member.address)),
            // One that is up and closed is about to be connected again.
            Link::Connecting | Link::Up(_) => None,
        });
        match reasons.chain(self.unknown.values().map(|why| Some(why.clone()))).collect::<Option<Vec<_>>>() {
            Some(reasons) if self.looked_up => Pick::Nobody(reasons.join("; ")),
            _ => Pick::Wait,
        }
    }
}

/// Where names are looked up.
pub(super) enum Names {
    /// As the system does it (hosts file, DNS).
    System,
    #[cfg(test)]
    Table(Arc<std::sync::Mutex<BTreeMap<String, BTreeSet<SocketAddr>>>>),
}

impl Names {
    async fn addresses(&self, target: &Target) -> io::Result<BTreeSet<SocketAddr>> {
        match self {
            Self::System => {
                let found = timeout(LOOKUP_PATIENCE, lookup_host((target.host.as_str(), target.port)));
                Ok(found.await.map_err(|_| io::ErrorKind::TimedOut)??.collect())
            }
            #[cfg(test)]
            Self::Table(table) => {
                Ok(table.lock().unwrap().get(&target.host).cloned().ok_or(io::ErrorKind::NotFound)?)
            }
        }
    }
}

/// Keeps `members` true: who there is, and a connection to each. Never ends; dropped, it makes no further connection.
pub(super) async fn keep(
    targets: Arc<[Target]>,
    names: Names,
    dialer: Dialer,
    members: watch::Sender<Members>,
) {
    let changed = Arc::new(Notify::new());
    let mut tasks = BTreeMap::<Member, AbortOnDropHandle<()>>::new();
    loop {
        let found = join_all(targets.iter().map(|target| names.addresses(target))).await;
        let mut unknown = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        for (target, found) in found.into_iter().enumerate() {
            let known = tasks.keys().copied().filter(|member| member.target == target);
            match found {
                Ok(addresses) if !addresses.is_empty() => {
                    wanted.extend(addresses.into_iter().map(|address| Member { target, address }));
                }
                // Names that cannot be looked up are no reason to leave those who answer.
                found => {
                    wanted.extend(known);
                    let why = found.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
                    unknown.insert(target, format!("{} cannot be looked up: {why}", targets[target]));
                }
            }
        }
        if targets.is_empty() {
            unknown.insert(0, "no target is configured".to_owned());
        }
        unknown.retain(|target, _| !wanted.iter().any(|member| member.target == *target));
        tasks.retain(|member, _| wanted.contains(member));
        let fresh: Vec<_> = wanted.iter().filter(|member| !tasks.contains_key(*member)).copied().collect();
        members.send_modify(|members| {
            members.links.retain(|member, _| wanted.contains(member));
            members.links.extend(fresh.iter().map(|member| (*member, Link::Connecting)));
            members.unknown = unknown;
            members.looked_up = true;
        });
        for member in fresh {
            let name = targets[member.target].name.clone();
            let task = keep_connected(member, name, dialer.clone(), members.clone(), changed.clone());
            tasks.insert(member, AbortOnDropHandle::new(tokio::spawn(task)));
        }
        let early = async {
            changed.notified().await;
            sleep(RESOLVE_PAUSE).await;
        };
        tokio::select! {
            () = sleep(if tasks.is_empty() { RESOLVE_PAUSE } else { dialer.pace.resolve }) => {}
            () = early => {}
        }
    }
}

async fn keep_connected(
    member: Member,
    name: ServerName<'static>,
    dialer: Dialer,
    members: watch::Sender<Members>,
    changed: Arc<Notify>,
) {
    // Only what is still wanted is there.
    let set = |link| {
        members.send_if_modified(|members| members.links.get_mut(&member).map(|held| *held = link).is_some());
    };
    let mut pause = REDIAL_PAUSE;
    let mut logged = None;
    loop {
        let begun = Instant::now();
        match dialer.dial(member.address, name.clone()).await {
            Ok(connection) => {
                debug!(address = %member.address, "a replica is connected");
                (logged, pause) = (None, REDIAL_PAUSE);
                set(Link::Up(connection.sender));
                let _ = connection.ended.await;
                set(Link::Connecting);
                // The replica may be gone for good, with another in its place.
                changed.notify_one();
                if begun.elapsed() < SHORT_LIFE {
                    sleep(REDIAL_PAUSE).await;
                }
            }
            Err(why) => {
                if logged.is_none() {
                    // Once, else an address that nobody serves has all names looked up at each try.
                    changed.notify_one();
                }
                if logged.as_ref() != Some(&why) {
                    warn!(address = %member.address, why, "a replica cannot be reached");
                    logged = Some(why.clone());
                }
                set(Link::Down(why));
                sleep(pause).await;
                pause = REDIAL_PAUSE_LONGEST.min(pause * 2);
            }
        }
    }
}
