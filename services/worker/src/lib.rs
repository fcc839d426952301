//! Durable jobs: one table, leases, retries with back-off, dead letters that a person can see and cure.
//!
//! Architecture invariant: a handler is idempotent. A job may run twice (its lease ran out, the process was killed);
//! its effect may not.

mod index_feed;
mod queue;
mod reindex;
mod server;

use std::{sync::Arc, time::Duration};

use openarchive_proto::worker::v1::worker_service_server::WorkerServiceServer;
pub use queue::{ATTEMPTS_MAX, Job, Queue};
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinHandle};
use tonic::transport::Channel;
use tracing::{error, info};

/// What the worker needs. Channels lead to ingest's catalogue and to the index.
pub struct WorkerConfig {
    pub pool: PgPool,
    pub catalogue: Channel,
    pub index: Channel,
    pub tenants: Vec<String>,
    /// Wait after the first failed attempt; doubles with each further one.
    pub retry_after: Duration,
}

/// A running worker. `shutdown` lets the batch in hand end.
pub struct Worker {
    queue: Queue,
    config: Arc<WorkerConfig>,
    stop: watch::Sender<bool>,
    feed: JoinHandle<()>,
}

impl Worker {
    /// Starts the index feed. If the index is empty while the catalogue is not, every message is queued again.
    pub fn start(config: WorkerConfig) -> Self {
        let config = Arc::new(config);
        let queue = Queue::new(config.pool.clone(), config.retry_after);
        let (stop, stopped) = watch::channel(false);
        let feed = tokio::spawn(run(config.clone(), queue.clone(), stopped));
        Self { queue, config, stop, feed }
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
    }
}

/// Longest sleep between looks at the queue, in case a notification was missed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

async fn run(config: Arc<WorkerConfig>, queue: Queue, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = reindex::refill_if_lost(&config, &queue).await {
        // Not fatal: the feed goes on, and the next start looks again.
        error!(%error, "cannot tell whether the index was lost");
    }
    let mut wake = queue.listen().await;
    while !*stopped.borrow() {
        match index_feed::run_batch(&config, &queue).await {
            Ok(0) => {
                tokio::select! {
                    () = wake.wait(POLL_INTERVAL) => {}
                    _ = stopped.changed() => {}
                }
            }
            Ok(_) => {}
            Err(error) => {
                error!(%error, "the index feed cannot run, tries again");
                tokio::select! {
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                    _ = stopped.changed() => {}
                }
            }
        }
    }
    info!("the index feed has stopped");
}
