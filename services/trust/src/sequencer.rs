//! The one writer of an archive's logs. Whoever appends waits in a queue; everything that waits goes into one statement
//! and one commit. No caller queues on a database lock.

mod error;
mod group;
mod plan;
mod session;

pub(crate) use error::{AppendError, LogRefusal};
pub(crate) use group::{GroupError, LeafRows, write_group};
pub(crate) use plan::{Entry, NewLeaf, StoredLeaf};

use std::{collections::VecDeque, sync::Arc, time::Duration};

use openarchive_domain::Digest;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{log_state::LogName, shared::Shared};
use session::Session;
pub(crate) use session::frontier_of;

/// Requests that wait before further callers wait for room.
const QUEUE_REQUESTS_MAX: usize = 1024;
/// Leaves in one group, unless a single request has more.
const GROUP_LEAVES_MAX: usize = 4096;
/// Time for one group's statements; beyond it the connection counts as lost.
const GROUP_TIME_MAX: Duration = Duration::from_secs(20);
/// How often an idle sequencer makes sure that it still is one.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Pause before a lost lock or connection is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Whether this process is the one that appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sequencing {
    /// No attempt has been made yet.
    Starting,
    Leading,
    Stopped(String),
}

/// The advisory lock that guards the sequencer of an archive: the first eight bytes of a SHA-256.
pub fn sequencer_lock_key(domain: &str, archive: &str) -> i64 {
    let digest = Digest::of(format!("openarchive/trust/sequencer/v1|{domain}/{archive}").as_bytes());
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest has more than eight bytes");
    i64::from_be_bytes(*first)
}

/// Entries for one log: all of them are appended, or none.
pub(crate) struct Request {
    log: LogName,
    entries: Vec<Entry>,
    answer: oneshot::Sender<Result<Vec<StoredLeaf>, AppendError>>,
}

/// Where appends are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Sequencer {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Sequencing>,
}

impl Sequencer {
    /// Starts it in the background; it ends when the service is told to stop, and answers whoever waits then.
    pub(crate) fn start(shared: Arc<Shared>) -> (Self, tokio::task::JoinHandle<()>) {
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let state = shared.sequencing.subscribe();
        (Self { requests, state }, tokio::spawn(run(shared, queue)))
    }

    /// Returns once every leaf is durable; the indices are final. Idempotent by key. Cancel-safe: the entries of a
    /// dropped caller may still be appended.
    pub(crate) async fn append(
        &self,
        log: LogName,
        entries: Vec<Entry>,
    ) -> Result<Vec<StoredLeaf>, AppendError> {
        if let Sequencing::Stopped(why) = &*self.state.borrow() {
            return Err(AppendError::Stopped { why: why.clone() });
        }
        let (answer, answered) = oneshot::channel();
        let ended = || AppendError::Stopped { why: "the sequencer ended before it could answer".to_owned() };
        self.requests.send(Request { log, entries, answer }).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Waits until this process is asked to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Fails only if whoever could ask is gone: then it is time as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

enum SessionEnd {
    Asked,
    Lost(String),
}

async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Request>) {
    let mut stop = shared.stop.subscribe();
    loop {
        let why = match Session::begin(&shared).await {
            Ok(Some(mut session)) => {
                tracing::info!("sequences the archive's logs");
                shared.sequencing.send_replace(Sequencing::Leading);
                match serve(&mut session, &mut queue, &mut stop).await {
                    SessionEnd::Asked => break session.end().await,
                    SessionEnd::Lost(why) => why,
                }
            }
            Ok(None) => "another process sequences this archive's logs".to_owned(),
            Err(error) => format!("the database cannot be reached: {error}"),
        };
        if *shared.sequencing.borrow() != Sequencing::Stopped(why.clone()) {
            tracing::warn!(why, "does not sequence the archive's logs");
        }
        shared.sequencing.send_replace(Sequencing::Stopped(why.clone()));
        if refuse_for_a_while(&why, &mut queue, &mut stop).await {
            break;
        }
    }
    shared.sequencing.send_replace(Sequencing::Stopped("this process is shutting down".to_owned()));
}

/// Whether it was asked to stop.
async fn refuse_for_a_while(
    why: &str,
    queue: &mut mpsc::Receiver<Request>,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let pause = sleep(RETRY_INTERVAL);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return false,
            () = stopped(stop) => return true,
            request = queue.recv() => match request {
                Some(request) => refuse(request, why),
                None => return true,
            },
        }
    }
}

fn refuse(request: Request, why: &str) {
    // Fails only if the caller is gone.
    let _ = request.answer.send(Err(AppendError::Stopped { why: why.to_owned() }));
}

async fn serve(
    session: &mut Session,
    requests: &mut mpsc::Receiver<Request>,
    stop: &mut watch::Receiver<bool>,
) -> SessionEnd {
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            tokio::select! {
                biased;
                () = stopped(stop) => return SessionEnd::Asked,
                request = requests.recv() => match request {
                    Some(request) => waiting.push_back(request),
                    None => return SessionEnd::Asked,
                },
                _ = ping.tick() => match timeout(GROUP_TIME_MAX, session.ping()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return SessionEnd::Lost(format!("the database connection is lost: {error}")),
                    Err(_) => return SessionEnd::Lost("the database does not answer".to_owned()),
                },
            }
        }
        while waiting.len() < QUEUE_REQUESTS_MAX
            && let Ok(request) = requests.try_recv()
        {
            waiting.push_back(request);
        }
        let group = take_group(&mut waiting);
        let end = match timeout(GROUP_TIME_MAX, session.append(group)).await {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            // Its callers see their answer dropped: whether the group was appended is not known.
            Err(_) => "the database does not answer".to_owned(),
        };
        for request in waiting {
            refuse(request, &end);
        }
        return SessionEnd::Lost(end);
    }
}

/// As many requests from the front as fit into one group, at least one.
fn take_group(waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut leaves = 0;
    let mut group = Vec::new();
    while let Some(next) = waiting.front() {
        leaves += next.entries.len();
        if !group.is_empty() && leaves > GROUP_LEAVES_MAX {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(leaves: usize) -> Request {
        let entry =
            || Entry { key: Digest::of(b""), expected_previous: None, body: json!({ "kind": "x", "v": 1 }) };
        let (answer, _) = oneshot::channel();
        Request {
            log: LogName::parse("acme", "evidence").unwrap(),
            entries: (0..leaves).map(|_| entry()).collect(),
            answer,
        }
    }

    #[test]
    fn a_group_is_bounded_and_never_empty() {
        let check = |sizes: &[usize], expected: &[usize]| {
            let mut waiting: VecDeque<Request> = sizes.iter().map(|leaves| request(*leaves)).collect();
            let mut groups = Vec::new();
            while !waiting.is_empty() {
                groups.push(take_group(&mut waiting).len());
            }
            assert_eq!(groups, expected, "{sizes:?}");
        };
        check(&[1, 1, 1], &[3]);
        check(&[GROUP_LEAVES_MAX, 1], &[1, 1]);
        check(&[GROUP_LEAVES_MAX - 1, 1, 1], &[2, 1]);
        check(&[GROUP_LEAVES_MAX + 1, 1], &[1, 1]);
    }

    #[test]
    fn each_archive_has_its_own_lock() {
        let key = sequencer_lock_key("a.example", "main");
        assert_eq!(key, sequencer_lock_key("a.example", "main"));
        assert_ne!(key, sequencer_lock_key("a.example", "other"));
    }
}
