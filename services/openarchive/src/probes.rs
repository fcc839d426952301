//! The port of probes and metrics.

use openarchive_telemetry::{AdminServer, Readiness};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Answers probes and metrics until it is aborted. Ready means: the sockets are open and the database answers. What a
/// role calls is not asked: a role that is down would make all its callers unready too.
pub(crate) fn serve(
    listener: TcpListener,
    pool: Option<PgPool>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let mut readiness = Readiness::new();
    if let Some(pool) = pool {
        readiness = readiness.needs("database", move || {
            let pool = pool.clone();
            async move { openarchive_schema::check(&pool).await.is_ok() }
        });
    }
    tokio::spawn(AdminServer::new(readiness).serve(listener, stop))
}
