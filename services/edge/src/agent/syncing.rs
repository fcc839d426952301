//! The agent's sync worker: built from the configuration, its figures kept where `status` finds them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::Clock;
use openarchive_ledger::policy::Policy;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    buffer::Buffer,
    config::{Config, CoreConfig, Intake},
    enrol::{Renewal, RenewalPace},
    sync::{
        ConnectError, CoreAddress, LogTrust, PolicyUnfit, SyncMonitor, SyncOptions, SyncStats, SyncWorker,
    },
};

/// Where a running agent writes its sync figures. They are for people: written without fsync, lost with the machine.
const SYNC_FILE: &str = "sync.json";
/// How often figures that changed are written.
const WRITE_INTERVAL: Duration = Duration::from_millis(500);

/// Why sync cannot begin. The mail server's mail is not accepted then: an agent that can never hand mail on must say so.
#[derive(Debug, thiserror::Error)]
pub enum SyncStartError {
    #[error(transparent)]
    Address(#[from] ConnectError),
    #[error("core.logPolicy: cannot read {}: {source}", .path.display())]
    PolicyRead { path: PathBuf, source: io::Error },
    #[error("core.logPolicy: {} is not a tlog-policy: {detail}", .path.display())]
    PolicySyntax { path: PathBuf, detail: String },
    #[error("core.logPolicy: {source}")]
    PolicyUnfit { source: PolicyUnfit },
}

/// Starts sync, the renewal of the certificate, and the writer of figures; all end when `stopping` is cancelled.
pub(super) fn start(
    core: &CoreConfig,
    config: &Config,
    buffer: Buffer,
    clock: Arc<dyn Clock>,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) -> Result<(), SyncStartError> {
    let address = CoreAddress::of(core);
    let path = core.log_policy.clone();
    let text = fs::read(&path).map_err(|source| SyncStartError::PolicyRead { path: path.clone(), source })?;
    let policy = Policy::parse(&text)
        .map_err(|error| SyncStartError::PolicySyntax { path: path.clone(), detail: error.to_string() })?;
    let trust = LogTrust::from_policy(address.agent()?, &policy)
        .map_err(|source| SyncStartError::PolicyUnfit { source })?;
    let options = SyncOptions { intake: config.intake, ..SyncOptions::default() };
    let channel = watch::Sender::new(address.connect()?);
    let first = channel.borrow().clone();
    let worker =
        SyncWorker::new(buffer.clone(), first, trust, clock.clone(), options).following(channel.subscribe());
    let renewal = Renewal { address, buffer, clock, channel, pace: RenewalPace::default() };
    tasks.spawn(renewal.run(stopping.clone()));
    let path = config.data_dir.join(SYNC_FILE);
    tasks.spawn(write_figures(worker.monitor(), config.intake, path, stopping.clone()));
    tasks.spawn(worker.run(stopping.clone()));
    Ok(())
}

/// What a running agent says of itself.
#[derive(Serialize)]
struct Figures<'a> {
    /// It takes no new mail, whatever its configuration says by now.
    draining: bool,
    #[serde(flatten)]
    stats: &'a SyncStats,
}

async fn write_figures(monitor: SyncMonitor, intake: Intake, path: PathBuf, stopping: CancellationToken) {
    let mut written = None;
    loop {
        let stats = monitor.stats();
        if written.as_ref() != Some(&stats) {
            let figures = Figures { draining: intake == Intake::Draining, stats: &stats };
            if let Err(error) = write(&path, &figures).await {
                tracing::warn!(%error, "cannot write the sync figures");
            }
            written = Some(stats);
        }
        if stopping.run_until_cancelled(tokio::time::sleep(WRITE_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// By way of a second file: a reader never sees half of it.
async fn write(path: &Path, figures: &Figures<'_>) -> io::Result<()> {
    let new = path.with_extension("new");
    tokio::fs::write(&new, serde_json::to_vec(figures)?).await?;
    tokio::fs::rename(&new, path).await
}

/// What the agent on `data_dir` wrote last; `None` where none has synced yet.
pub fn last_figures(data_dir: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs::read(data_dir.join(SYNC_FILE)).ok()?).ok()
}
