//! Composition of the service: one value that runs an archive's sequencer and publisher and serves its calls.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use openarchive_domain::{Clock, ParseError, SystemClock, Tenant};
use openarchive_envelope::{KnownAnswerError, known_answer_test};
use openarchive_ledger::{
    origin::{LogId, ORIGIN_BYTES_MAX, Origin, TenantOrArchive},
    policy::Policy,
};
use openarchive_objects::ObjectStore;
use openarchive_proto::trust::v1::trust_service_server::TrustServiceServer;
use openarchive_rpc::RPC_MESSAGE_BYTES_MAX;
use openarchive_telemetry::metrics;
use sqlx::PgPool;
use tokio::{sync::mpsc, sync::watch, task::JoinHandle, time::timeout};

use crate::{
    FIRST_LOG_EPOCH,
    agents_ca::AgentsCa,
    custody::{Custody, CustodyError},
    health::TrustHealth,
    keys::Keys,
    locks,
    log_rows::{self, RowDamage, RowsError},
    log_state::LogStates,
    publisher,
    sequencer::{Sequencer, Sequencing},
    server::TrustServer,
    shared::Shared,
};

/// Longest that a reader waits for a checkpoint: more than the longest interval between two of a log.
const PROOF_WAIT: Duration = Duration::from_secs(45);
/// How long a start waits for the sequencer's lock before it serves what needs none.
const LEADING_WAIT: Duration = Duration::from_secs(5);

/// Least time between two checkpoints of a log, by stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointIntervals {
    pub evidence: Duration,
    pub audit: Duration,
    /// Of every other stream.
    pub other: Duration,
}

impl CheckpointIntervals {
    /// What production uses.
    pub const PRODUCTION: Self = Self {
        evidence: Duration::from_secs(5),
        audit: Duration::from_secs(30),
        other: Duration::from_secs(30),
    };
    /// What `openarchive dev` uses.
    pub const DEV: Self = Self::every(Duration::from_secs(1));

    pub const fn every(interval: Duration) -> Self {
        Self { evidence: interval, audit: interval, other: interval }
    }

    pub(crate) fn of(&self, stream: &str) -> Duration {
        match stream {
            LogId::EVIDENCE => self.evidence,
            LogId::AUDIT => self.audit,
            _ => self.other,
        }
    }
}

/// What an archive's trust service runs on.
pub struct TrustConfig {
    /// A database that `openarchive_schema::migrate` has brought up to date.
    pub pool: PgPool,
    pub objects: ObjectStore,
    pub keys: Keys,
    /// Signs agents' certificates; `None`: they are issued elsewhere, and agents cannot enrol.
    pub agents_ca: Option<AgentsCa>,
    /// First two parts of every origin: a lowercase DNS name, and a DNS label. They never change.
    pub domain: String,
    pub archive: String,
    /// Every tenant of the archive: one that has logs and is not among them is refused at the start. `None`: not looked at.
    pub tenants: Option<Vec<Tenant>>,
    pub intervals: CheckpointIntervals,
    /// Longest that `GetInclusionProofs` waits for a covering checkpoint.
    pub proof_wait: Duration,
    /// Age of the oldest audit leaf without a checkpoint beyond which no further one is taken.
    pub stalled_after: Duration,
    pub clock: Arc<dyn Clock>,
}

impl TrustConfig {
    /// Without an agents' CA, without a list of tenants, with the intervals of `dev`, 45 s for proofs, 60 s until audit counts as stalled, and the system's clock.
    pub fn new(pool: PgPool, objects: ObjectStore, keys: Keys, domain: &str, archive: &str) -> Self {
        Self {
            pool,
            objects,
            keys,
            agents_ca: None,
            domain: domain.to_owned(),
            archive: archive.to_owned(),
            tenants: None,
            intervals: CheckpointIntervals::DEV,
            proof_wait: PROOF_WAIT,
            stalled_after: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    KnownAnswer(#[from] KnownAnswerError),
    #[error(transparent)]
    Name(#[from] ParseError),
    #[error(
        "domain and archive are so long that an origin with the longest tenant and stream would have {bytes} bytes: at most {ORIGIN_BYTES_MAX} are allowed"
    )]
    NameTooLong { bytes: usize },
    #[error(transparent)]
    Custody(#[from] CustodyError),
    #[error(
        "log {origin} belongs to another signing key than the one in the archive's key folder: restore the archive's keys"
    )]
    ForeignKeys { origin: String },
    #[error(
        "the database holds log {found}, but the configuration says {domain}/{archive}: an archive's name never changes"
    )]
    OtherArchive { found: String, domain: String, archive: String },
    #[error(
        "the ledger holds logs of tenant {tenant}, whom the configuration does not list: a tenant may be added, never removed, because its mail is kept; list it in archive.tenants again"
    )]
    TenantMissing { tenant: Tenant },
    #[error(transparent)]
    Damage(#[from] RowDamage),
    #[error("the ledger's rows cannot be read")]
    Database(#[from] sqlx::Error),
}

/// Measured when it is asked for: it grows while nothing happens.
fn show_waiting_leaves(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    metrics::before_each_answer(move || {
        let Some(shared) = shared.upgrade() else { return };
        let now_seconds = shared.clock.now().as_millis() as f64 / 1000.0;
        for log in shared.logs.all() {
            let since = log.oldest_unpublished_age().map_or(0.0, |age| now_seconds - age.as_secs_f64());
            metrics::PENDING_LEAF_TIME.set([&log.name.to_string()], since);
        }
    });
}

/// A running trust service.
pub struct Trust {
    shared: Arc<Shared>,
    sequencer: Sequencer,
    tasks: Vec<JoinHandle<()>>,
}

impl Trust {
    /// Proves the mechanisms and the keys, then begins to sequence and to publish. Where another process holds the
    /// sequencer's lock, this one starts all the same, refuses appends, and takes over when the lock is free.
    pub async fn start(config: TrustConfig) -> Result<Self, StartError> {
        known_answer_test()?;
        check_name(&config.domain, &config.archive)?;
        let tenants = config.tenants.as_deref();
        check_logs(&config.pool, Some(&config.keys), &config.domain, &config.archive, tenants).await?;
        let kek = config.keys.kek().clone();
        let custody = Custody::load(kek, &config.pool, &config.objects, config.clock.clone()).await?;
        let (announce, announced) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            pool: config.pool,
            objects: config.objects,
            keys: config.keys,
            custody,
            agents_ca: config.agents_ca.map(Arc::new),
            domain: config.domain,
            archive: config.archive,
            intervals: config.intervals,
            proof_wait: config.proof_wait,
            stalled_after: config.stalled_after,
            clock: config.clock,
            logs: LogStates::new(announce),
            stop: watch::Sender::new(false),
            hurry: watch::Sender::new(false),
            sequencing: watch::Sender::new(Sequencing::Starting),
            clock_difference_millis: AtomicI64::new(0),
        });
        show_waiting_leaves(&shared);
        let (sequencer, sequencing) = Sequencer::start(shared.clone());
        let publishing = tokio::spawn(publisher::run(shared.clone(), announced));
        let locking = tokio::spawn(locks::keep_locked(shared.clone()));
        let mut state = shared.sequencing.subscribe();
        // A lock that another process holds for longer is no error: this one stands by.
        let _ = timeout(LEADING_WAIT, state.wait_for(|state| *state == Sequencing::Leading)).await;
        Ok(Self { shared, sequencer, tasks: vec![sequencing, publishing, locking] })
    }

    /// The gRPC service, with its size limits.
    pub fn server(&self) -> TrustServiceServer<TrustServer> {
        TrustServiceServer::new(TrustServer::new(self.shared.clone(), self.sequencer.clone()))
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }

    /// A view of how the service is, to be kept by whoever reports it.
    pub fn health(&self) -> TrustHealth {
        TrustHealth::new(self.shared.clone())
    }

    /// What a verifier has to trust for a tenant's receipts and audit trail: the keys of its logs, whose names are
    /// their origins. `to_text` writes the C2SP tlog-policy file.
    pub fn policy_for(&self, tenant: &Tenant) -> Policy {
        policy_for(&self.shared.keys, &self.shared.domain, &self.shared.archive, tenant)
            .expect("the names were checked at the start")
    }

    /// From `stop` on, calls that wait for a checkpoint get one at once, whatever the intervals: a log's may be longer than
    /// a server waits for its calls in hand. Nothing ends by that.
    pub fn hurry_when(&self, mut stop: watch::Receiver<bool>) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                shared.hurry.send_replace(true);
            }
        });
    }

    /// Ends the tasks: the group and the checkpoints that have begun are finished, further appends are refused, and
    /// so is whoever waits for a proof.
    /// Leaves without a checkpoint stay in the database and are published after the next start.
    pub async fn shutdown(self) {
        self.shared.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the trust service broke off");
            }
        }
    }
}

/// [`Trust::policy_for`] without a running service, from the archive's keys and name.
pub fn policy_for(keys: &Keys, domain: &str, archive: &str, tenant: &Tenant) -> Result<Policy, ParseError> {
    let owner = TenantOrArchive::Tenant(tenant.clone());
    let key = |stream| {
        let log = LogId::new(owner.clone(), stream, FIRST_LOG_EPOCH)?;
        Ok::<_, ParseError>(keys.verifier(&Origin::new(domain, archive, log)?))
    };
    Ok(Policy::of_logs(vec![key(LogId::EVIDENCE)?, key(LogId::AUDIT)?]))
}

/// Every log that this archive can ever have must have an origin.
pub fn check_name(domain: &str, archive: &str) -> Result<(), StartError> {
    let short = LogId::new(TenantOrArchive::Archive, LogId::CONFIG, FIRST_LOG_EPOCH)?;
    Origin::new(domain, archive, short)?;
    let longest = "x".repeat(openarchive_domain::NAME_BYTES_MAX);
    let log = LogId::new(TenantOrArchive::Tenant(longest.parse()?), &longest, u64::from(u32::MAX))?;
    let bytes = format!("{domain}/{archive}/{log}").len();
    if bytes > ORIGIN_BYTES_MAX { Err(StartError::NameTooLong { bytes }) } else { Ok(()) }
}

/// The logs in the database must be this archive's, their keys `keys`, and their tenants among `tenants`; what is `None`
/// is not looked at. Answers how many logs there are. Writes nothing.
pub async fn check_logs(
    pool: &PgPool,
    keys: Option<&Keys>,
    domain: &str,
    archive: &str,
    tenants: Option<&[Tenant]>,
) -> Result<usize, StartError> {
    let logs = log_rows::all_logs(pool).await.map_err(|error| match error {
        RowsError::Database(error) => StartError::Database(error),
        RowsError::Damage(damage) => StartError::Damage(damage),
    })?;
    for log in &logs {
        let found = log.origin.to_string();
        if log.origin.domain() != domain || log.origin.archive() != archive {
            let (domain, archive) = (domain.to_owned(), archive.to_owned());
            return Err(StartError::OtherArchive { found, domain, archive });
        }
        if keys.is_some_and(|keys| log.verifier_key != keys.verifier(&log.origin).to_string()) {
            return Err(StartError::ForeignKeys { origin: found });
        }
        if let (Some(tenants), TenantOrArchive::Tenant(tenant)) = (tenants, log.log().owner())
            && !tenants.contains(tenant)
        {
            return Err(StartError::TenantMissing { tenant: tenant.clone() });
        }
    }
    Ok(logs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_no_room_for_the_longest_log_is_refused_at_the_start() {
        // 63 bytes each for tenant and stream, 10 for the epoch, four slashes, and `main`.
        let room = ORIGIN_BYTES_MAX - 63 - 63 - 10 - 4 - "main".len();
        let domain = |bytes: usize| ["a", "aa"][(bytes + 1) % 2].to_owned() + &".a".repeat((bytes - 1) / 2);
        assert_eq!(domain(room).len(), room);
        check_name(&domain(room), "main").unwrap();
        let refused = check_name(&domain(room + 1), "main");
        assert!(matches!(refused, Err(StartError::NameTooLong { bytes: 256 })), "{refused:?}");
        for (domain, archive) in
            [("", "main"), ("A.example", "main"), ("a.example", ""), ("a.example", "x/y")]
        {
            assert!(matches!(check_name(domain, archive), Err(StartError::Name(_))), "{domain}/{archive}");
        }
    }

    #[test]
    fn whoever_asks_for_a_proof_waits_longer_than_any_log_for_its_checkpoint() {
        let CheckpointIntervals { evidence, audit, other } = CheckpointIntervals::PRODUCTION;
        assert!([evidence, audit, other].into_iter().all(|interval| PROOF_WAIT > interval));
    }

    #[test]
    fn each_stream_has_its_interval() {
        let intervals = CheckpointIntervals::PRODUCTION;
        assert_eq!(intervals.of("evidence"), Duration::from_secs(5));
        assert_eq!(intervals.of("audit"), Duration::from_secs(30));
        assert_eq!(intervals.of("config"), Duration::from_secs(30));
    }
}
