//! Sending what is buffered to the archive, and pruning what the archive has proved to have.
//!
//! # The way of a batch
//! offer -> upload what is missing -> commit -> check every receipt against what this agent knows itself -> check that
//! the log has only grown -> prune, with receipts and checkpoint in the same transaction. The next batch is offered and
//! uploaded while this one is committed. Nothing is remembered between two tries: killed at any point, the same is
//! repeated, and the core answers the same.
//!
//! # When something fails
//! - The core is away, busy or refuses: the try is repeated after a growing, spread wait ([`BackOff`]), for days if
//!   need be. A refusal raises an alarm that goes by itself when the core answers again.
//! - One mail cannot be archived (its number is another's, the core cannot rebuild it, its content here is damaged): an
//!   alarm, and it is set aside; the others go on. It is tried again with each [`SyncOptions::report_interval`].
//! - The core was caught at a lie ([`AlarmKind::halts_sync`]): nothing of that batch is pruned, the known checkpoint
//!   stays, the suspect one is kept beside it, an alarm is raised, and **sync halts until a person has cleared the
//!   alarm** ([`clear_alarm`]). A restart alone does not clear it: an agent that forgets a lie when it is restarted can
//!   be made to forget. Mail is accepted all the while.
//!
//! Architecture invariant: only `settle` in `commit.rs` prunes, and only after every check.

mod alarm_kind;
mod back_off;
mod commit;
mod core_address;
mod core_calls;
mod error;
mod growth;
mod header;
pub mod limits;
mod log_trust;
mod offer;
mod prepare;
mod proof;
mod report;
mod stats;
mod upload;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use openarchive_domain::Clock;
use openarchive_rpc::RpcChannel;
use openarchive_telemetry::work_span;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

pub use alarm_kind::{AlarmKind, clear_alarm};
pub use back_off::BackOff;
pub(crate) use core_address::agent_of_certificate;
pub use core_address::{ConnectError, CoreAddress};
pub use log_trust::{LogTrust, PolicyUnfit};
pub use stats::{SyncState, SyncStats};

use crate::{
    buffer::{Buffer, BufferError, MessageId},
    config::Intake,
};
use core_calls::Core;
use error::{Lie, SyncError};
use stats::Counters;

/// How eager sync is.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// Mails that are offered together: at most this many.
    pub batch_messages_max: usize,
    pub back_off: BackOff,
    /// How often the buffer is looked into when no arrival was noticed: an import in another process makes no noise.
    pub poll_interval: Duration,
    /// How often the core is told how far this agent has counted, and what was set aside is tried again.
    pub report_interval: Duration,
    /// How often an agent that drains tells it: somebody waits until it is empty.
    pub draining_report_interval: Duration,
    /// How often a halted agent looks whether its alarm was cleared.
    pub halted_poll: Duration,
    /// What the core is told of new mail.
    pub intake: Intake,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            batch_messages_max: limits::BATCH_MESSAGES_MAX,
            back_off: BackOff::default(),
            poll_interval: Duration::from_secs(2),
            report_interval: Duration::from_mins(5),
            draining_report_interval: Duration::from_secs(10),
            halted_poll: Duration::from_secs(5),
            intake: Intake::Open,
        }
    }
}

/// One for each buffer: two would send everything twice.
pub struct SyncWorker {
    core: Core,
    buffer: Buffer,
    trust: Arc<LogTrust>,
    clock: Arc<dyn Clock>,
    options: SyncOptions,
    counters: Arc<Counters>,
    set_aside: Mutex<BTreeSet<MessageId>>,
    /// Mails of the next batch: half as many whenever the core refuses one on account of some mail, twice as many with
    /// each that is committed, all again at the end of the buffer.
    batch_messages: AtomicUsize,
    /// The alarm for a refusal may be up, from this or an earlier process.
    refusal_may_be_up: AtomicBool,
}

/// What is done from time to time, also while mail keeps coming.
struct Due {
    report: Instant,
    /// What was set aside is tried again.
    retry: Instant,
}

/// Reads a worker's figures from anywhere.
#[derive(Debug, Clone)]
pub struct SyncMonitor(Arc<Counters>);

impl SyncMonitor {
    pub fn stats(&self) -> SyncStats {
        self.0.snapshot()
    }
}

impl SyncWorker {
    /// `channel`: from [`CoreAddress::connect`], or in process.
    pub fn new(
        buffer: Buffer,
        channel: RpcChannel,
        trust: LogTrust,
        clock: Arc<dyn Clock>,
        options: SyncOptions,
    ) -> Self {
        Self {
            core: Core::new(watch::Sender::new(channel).subscribe()),
            batch_messages: AtomicUsize::new(options.batch_messages_max.max(1)),
            buffer,
            trust: Arc::new(trust),
            clock,
            options,
            counters: Arc::new(Counters::default()),
            set_aside: Mutex::default(),
            refusal_may_be_up: AtomicBool::new(true),
        }
    }

    /// Takes each call's channel from `channel` from now on.
    #[must_use]
    pub fn following(mut self, channel: watch::Receiver<RpcChannel>) -> Self {
        self.core = Core::new(channel);
        self
    }

    pub fn monitor(&self) -> SyncMonitor {
        SyncMonitor(Arc::clone(&self.counters))
    }

    /// Sends until `stopping`. Cancel-safe: what was not finished is repeated by the next worker.
    pub async fn run(self, stopping: CancellationToken) {
        stopping.run_until_cancelled(Box::pin(self.work())).await;
    }

    async fn work(&self) {
        let (mut failures, mut class_changes) = (0, 0);
        let mut due = Due { report: Instant::now(), retry: Instant::now() };
        loop {
            let pruned_before = self.counters.snapshot().committed;
            let outcome = match self.is_halted().await {
                Ok(true) => {
                    self.counters.set_state(SyncState::Halted);
                    sleep(self.options.halted_poll).await;
                    continue;
                }
                Ok(false) => self.pass(&mut due).await,
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(()) => {
                    (failures, class_changes) = (0, 0);
                    self.counters.set_state(SyncState::Idle);
                    if self.options.intake == Intake::Draining
                        && self.counters.snapshot().committed > pruned_before
                    {
                        due.report = Instant::now();
                    }
                    tokio::select! {
                        () = self.buffer.wait_for_arrival() => {}
                        () = sleep(self.options.poll_interval) => {}
                    }
                }
                Err(SyncError::Lie(lie)) => self.record(lie).await,
                Err(error) => {
                    // Counted until all is sent: others are committed beside a mail whose class never settles.
                    class_changes += u32::from(error.is_class_change());
                    let never_settles = error.is_class_change() && class_changes >= limits::CLASS_TRIES_MAX;
                    if (never_settles || error.is_about_content()) && self.halve_batches() {
                        tracing::warn!(%error, "the core refuses a batch; fewer mails are sent at a time");
                        self.counters.failed(error.to_string());
                        continue;
                    }
                    if never_settles {
                        self.class_keeps_changing(&error).await;
                    }
                    // Whoever got something done starts counting anew.
                    if self.counters.snapshot().committed > pruned_before {
                        failures = 0;
                    }
                    failures += 1;
                    self.wait_after(&error, failures).await;
                }
            }
        }
    }

    /// Sends all that is in the buffer now, and what comes meanwhile.
    async fn pass(&self, due: &mut Due) -> Result<(), SyncError> {
        let mut after = MessageId::START;
        // Each batch is a trace, from its offer to its receipts.
        let (mut ready, mut ready_trace) = (Vec::new(), Span::none());
        loop {
            if Instant::now() >= due.report {
                self.report().await?;
                due.report = Instant::now() + self.report_interval();
            }
            let is_retry = Instant::now() >= due.retry;
            if is_retry && ready.is_empty() {
                self.lock_set_aside().clear();
                due.retry = Instant::now() + self.options.report_interval;
                after = MessageId::START;
            }
            // What is ready must be gone before the buffer is read from its beginning, or it would be sent twice.
            let batch = if is_retry && !ready.is_empty() { None } else { self.next_batch(after).await? };
            if batch.is_none() && ready.is_empty() {
                self.batch_messages.store(self.options.batch_messages_max.max(1), Ordering::Relaxed);
                return self.forget_refusal().await;
            }
            self.counters.set_state(SyncState::Sending);
            let mails = batch.map_or_else(Vec::new, |batch| {
                after = batch.last;
                batch.mails
            });
            let is_commit = !ready.is_empty();
            let trace = if mails.is_empty() { Span::none() } else { work_span("agent", "send batch") };
            let (committed, prepared) = tokio::join!(
                self.commit(ready).instrument(ready_trace),
                self.prepare(mails).instrument(trace.clone())
            );
            committed?;
            if is_commit {
                self.double_batches();
            }
            (ready, ready_trace) = (prepared?, trace);
        }
    }

    const fn report_interval(&self) -> Duration {
        match self.options.intake {
            Intake::Open => self.options.report_interval,
            Intake::Draining => self.options.draining_report_interval,
        }
    }

    /// All that the core once refused it answers now.
    async fn forget_refusal(&self) -> Result<(), SyncError> {
        if self.refusal_may_be_up.swap(false, Ordering::Relaxed) {
            for kind in [AlarmKind::CoreRefuses, AlarmKind::AgentRevoked] {
                self.buffer.clear_alarm(kind.as_str()).await?;
            }
        }
        Ok(())
    }

    /// So that the mail that the core does not take is soon alone. `false`: it was.
    fn halve_batches(&self) -> bool {
        let before = self.batch_messages.load(Ordering::Relaxed);
        self.batch_messages.store((before / 2).max(1), Ordering::Relaxed);
        before > 1
    }

    /// Only after a commit: a batch that is offered anew after a refusal is never larger than the one refused.
    fn double_batches(&self) {
        let before = self.batch_messages.load(Ordering::Relaxed);
        let max = self.options.batch_messages_max.max(1);
        self.batch_messages.store(before.saturating_mul(2).min(max), Ordering::Relaxed);
    }

    async fn is_halted(&self) -> Result<bool, BufferError> {
        Ok(AlarmKind::halting(&self.buffer.alarms().await?).is_some())
    }

    /// Returns when lie and alarm are durable: a lie that is forgotten would be told again.
    async fn record(&self, lie: Lie) {
        tracing::error!(kind = %lie.kind, detail = lie.detail, "the core was caught at a lie: sync halts");
        self.counters.failed(lie.to_string());
        while let Err(error) = self.try_record(&lie).await {
            tracing::error!(%error, "the alarm cannot be written; trying again");
            sleep(self.options.halted_poll).await;
        }
        self.counters.set_state(SyncState::Halted);
    }

    async fn try_record(&self, lie: &Lie) -> Result<(), BufferError> {
        let now = self.clock.now();
        if let Some(suspect) = &lie.suspect {
            self.buffer.keep_suspect(suspect.clone(), now).await?;
        }
        self.buffer.raise_alarm(lie.kind.as_str(), lie.detail.clone(), now).await
    }

    async fn class_keeps_changing(&self, error: &SyncError) {
        let kind = AlarmKind::ClassKeepsChanging;
        if let Err(error) = self.buffer.raise_alarm(kind.as_str(), error.to_string(), self.clock.now()).await
        {
            tracing::error!(%error, %kind, "an alarm cannot be written");
        }
    }

    async fn wait_after(&self, error: &SyncError, failures: u32) {
        let random = u64::from_be_bytes(openarchive_domain::random::bytes());
        let delay = self.options.back_off.delay(failures, random);
        tracing::warn!(%error, failures, delay_seconds = delay.as_secs_f32(), "nothing can be sent; trying again later");
        self.counters.set_state(SyncState::BackingOff);
        self.counters.failed(error.to_string());
        if error.is_refusal() {
            self.refusal_may_be_up.store(true, Ordering::Relaxed);
            let (kind, detail) = (error.alarm_of_refusal(), error.to_string());
            if let Err(error) = self.buffer.raise_alarm(kind.as_str(), detail, self.clock.now()).await {
                tracing::error!(%error, %kind, "an alarm cannot be written");
            }
        }
        sleep(delay).await;
    }

    /// Leaves a mail out of what is sent until the next report, and says so.
    async fn set_aside(&self, id: MessageId, kind: AlarmKind, detail: String) -> Result<(), SyncError> {
        tracing::error!(kind = %kind, detail, "a mail cannot be archived and is set aside");
        self.lock_set_aside().insert(id);
        self.buffer.raise_alarm(kind.as_str(), detail, self.clock.now()).await?;
        Ok(())
    }

    fn is_set_aside(&self, id: MessageId) -> bool {
        self.lock_set_aside().contains(&id)
    }

    fn lock_set_aside(&self) -> std::sync::MutexGuard<'_, BTreeSet<MessageId>> {
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
