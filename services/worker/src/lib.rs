//! Durable jobs: one table, leases, retries with back-off, dead letters that a person can see and cure.
//!
//! Architecture invariant: a handler is idempotent. A job may run twice (its lease ran out, the process was killed);
//! its effect may not.

mod fixity;
mod index_feed;
mod queue;
mod reindex;
mod server;
mod shred;

use std::{sync::Arc, time::Duration};

pub use fixity::{FIXITY_BYTES_PER_SECOND_DEFAULT, FIXITY_INTERVAL_DEFAULT, Fixity};
use openarchive_proto::worker::v1::worker_service_server::WorkerServiceServer;
use openarchive_rpc::RpcChannel;
use queue::Wake;
pub use queue::{ATTEMPTS_MAX, Job, Queue};
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

/// What the worker needs. Channels lead to ingest's catalogue, to the index and to storage.
pub struct WorkerConfig {
    pub pool: PgPool,
    pub catalogue: RpcChannel,
    pub index: RpcChannel,
    pub storage: RpcChannel,
    pub tenants: Vec<String>,
    /// Wait after the first failed attempt; doubles with each further one.
    pub retry_after: Duration,
    /// `None`: no pack is read again.
    pub fixity: Option<Fixity>,
}

/// A running worker. `shutdown` lets the batch in hand end.
pub struct Worker {
    queue: Queue,
    config: Arc<WorkerConfig>,
    stop: watch::Sender<bool>,
    feed: JoinHandle<()>,
    refill: JoinHandle<()>,
    counting: JoinHandle<()>,
    shreds: JoinHandle<()>,
    fixity: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the index feed. Whenever the index turns out to be a new one, every message is queued again.
    pub fn start(config: WorkerConfig) -> Self {
        let config = Arc::new(config);
        let queue = Queue::new(config.pool.clone(), config.retry_after);
        let (stop, stopped) = watch::channel(false);
        let refill = tokio::spawn(reindex::keep_filled(config.clone(), queue.clone(), stopped.clone()));
        let shreds = tokio::spawn({
            let (config, queue, stopped) = (config.clone(), queue.clone(), stopped.clone());
            async move {
                let wake = queue.listen().await;
                keep_working("shredding", shred::run_batch, config, queue, stopped, wake).await;
            }
        });
        let fixity = config.fixity.clone();
        let fixity = fixity
            .map(|fixity| tokio::spawn(keep_fixity(fixity, config.clone(), queue.clone(), stopped.clone())));
        let feed = tokio::spawn({
            let (config, queue) = (config.clone(), queue.clone());
            async move {
                let wake = queue.listen().await;
                keep_working("the index feed", index_feed::run_batch, config, queue, stopped, wake).await;
            }
        });
        let counting = tokio::spawn(keep_counting(queue.clone()));
        Self { queue, config, stop, feed, refill, counting, shreds, fixity }
    }

    pub fn server(
        &self,
    ) -> WorkerServiceServer<impl openarchive_proto::worker::v1::worker_service_server::WorkerService + use<>>
    {
        WorkerServiceServer::new(server::Server::new(self.queue.clone(), self.config.clone()))
            .max_decoding_message_size(openarchive_rpc::RPC_MESSAGE_BYTES_MAX)
    }

    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.feed.await {
            error!(%error, "the index feed ends badly");
        }
        if let Err(error) = self.shreds.await {
            error!(%error, "shredding ends badly");
        }
        if let Some(fixity) = self.fixity
            && let Err(error) = fixity.await
        {
            error!(%error, "the fixity pass ends badly");
        }
        // Whatever it was doing begins again at the next start.
        self.refill.abort();
        self.counting.abort();
    }
}

/// Makes the job of the pass, as soon as the database can be reached, and works it off.
async fn keep_fixity(
    fixity: Fixity,
    config: Arc<WorkerConfig>,
    queue: Queue,
    mut stopped: watch::Receiver<bool>,
) {
    while let Err(error) = fixity::prepare(&fixity, &queue).await {
        warn!(%error, "the fixity pass cannot be scheduled, tries again");
        tokio::select! {
            () = tokio::time::sleep(COUNT_INTERVAL) => {}
            _ = stopped.changed() => return,
        }
    }
    keep_working("the fixity pass", fixity::run_batch, config, queue, stopped, Wake::by_time_alone()).await;
}

/// Time between two counts of the job table for the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

async fn keep_counting(queue: Queue) {
    loop {
        if let Err(error) = queue.show_counts().await {
            warn!(%error, "the jobs cannot be counted");
        }
        tokio::time::sleep(COUNT_INTERVAL).await;
    }
}

/// Longest sleep between looks at the queue, in case a notification was missed.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Works off one kind of jobs until told to stop: a batch after the other while there are jobs, then waits.
/// `batch` answers how many jobs it claimed. A batch that could not run waits like an empty one, so that the listener
/// hears of a closing pool.
async fn keep_working<F>(
    what: &'static str,
    batch: fn(Arc<WorkerConfig>, Queue) -> F,
    config: Arc<WorkerConfig>,
    queue: Queue,
    mut stopped: watch::Receiver<bool>,
    mut wake: Wake,
) where
    F: Future<Output = anyhow::Result<usize>>,
{
    while !*stopped.borrow() {
        match batch(config.clone(), queue.clone()).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => error!(%error, "{what} cannot run, tries again"),
        }
        tokio::select! {
            () = wake.wait(POLL_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
    }
    info!("{what} has stopped");
}
