//! Publishes each log: tiles and bundles, the head, the signed checkpoint, the row; then it wakes whoever waits.
//!
//! One path for the first attempt, for repetitions and for the start after a crash: `published` reads where the log
//! stands, `round` goes one step on. Any error drops what is in memory and takes the path from its beginning.

mod published;
mod refusal;
mod round;
mod tiles;

use refusal::SigningRefusal;
pub(crate) use refusal::WAY_BACK;

use std::{sync::Arc, time::Duration};

use openarchive_objects::ObjectError;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    heads::HeadError, log_objects::TileReadError, log_rows::RowsError, log_state::LogState,
    sequencer::Sequencing, sequencer::stopped, shared::Shared,
};
use published::Published;

/// Pause after the first failure; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why a checkpoint was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error(transparent)]
    Refused(#[from] SigningRefusal),
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error(transparent)]
    Heads(#[from] HeadError),
    #[error(transparent)]
    Tiles(#[from] TileReadError),
    #[error("the log's objects cannot be written")]
    Objects(#[from] ObjectError),
}

impl From<sqlx::Error> for PublishError {
    fn from(error: sqlx::Error) -> Self {
        Self::Rows(error.into())
    }
}

/// Publishes every log that is announced, each in its own task, until the service is told to stop. A round that has begun ends.
pub(crate) async fn run(shared: Arc<Shared>, mut announced: mpsc::UnboundedReceiver<Arc<LogState>>) {
    let mut stop = shared.stop.subscribe();
    let mut logs = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            log = announced.recv() => match log {
                Some(log) => { logs.spawn(publish_log(shared.clone(), log)); }
                None => break,
            },
        }
    }
    while let Some(ended) = logs.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "publishing of a log broke off");
        }
    }
}

/// Stopping is looked at between rounds, so a round that has begun is never broken off.
async fn publish_log(shared: Arc<Shared>, log: Arc<LogState>) {
    let mut stop = shared.stop.subscribe();
    let interval = shared.intervals.of(log.name.stream());
    let mut last = Instant::now().checked_sub(interval).unwrap_or_else(Instant::now);
    let mut held: Option<Published> = None;
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = due(&shared, &log, last, interval) => {}
        }
        last = Instant::now();
        let published = match held.take() {
            Some(published) => Ok(published),
            None => Published::take_up(&shared, &log.name).await,
        };
        let result = match published {
            Ok(published) => round::publish(&shared, &log, published).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(published) => {
                held = Some(published);
                pause = RETRY_PAUSE_MIN;
            }
            Err(error) => {
                report(&log, &error);
                tokio::select! {
                    () = stopped(&mut stop) => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

/// Returns when the log has grown and its interval is over. Whoever waits for a proof makes it come sooner, but never
/// sooner than an interval after the last checkpoint, unless the process is about to stop.
async fn due(shared: &Shared, log: &LogState, last: Instant, interval: Duration) {
    let (mut durable, published) = (log.durable.subscribe(), log.published.subscribe());
    // Both fail only if the log's state is gone, and then nobody asks any more.
    let _ = durable.wait_for(|durable| *durable > *published.borrow()).await;
    let _ = shared.sequencing.subscribe().wait_for(|state| *state == Sequencing::Leading).await;
    let grown = Instant::now();
    tokio::select! {
        () = sleep_until(grown + interval) => {}
        () = log.wanted.notified() => {}
    }
    let mut hurry = shared.hurry.subscribe();
    tokio::select! {
        () = sleep_until(last + interval) => {}
        () = stopped(&mut hurry) => {}
    }
}

/// Says it once for each reason: a log that stays refused does not fill the journal.
fn report(log: &LogState, error: &PublishError) {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    if log.failure().as_deref() != Some(&why) {
        tracing::error!(log = %log.name, why, "cannot publish a checkpoint, tries again");
    }
    log.failed(why);
}
