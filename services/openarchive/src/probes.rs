//! The port of probes and metrics.

use std::sync::{Arc, OnceLock};

use openarchive_telemetry::{AdminServer, Readiness};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::health::CoreHealth;

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

/// The same for a process with every role: ready means that each of them is. Before `health` is set, none is.
pub(crate) fn serve_core(
    listener: TcpListener,
    health: &Arc<OnceLock<CoreHealth>>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let readiness = CoreHealth::ROLES.into_iter().fold(Readiness::new(), |readiness, role| {
        let health = health.clone();
        readiness.needs(role.name(), move || {
            let health = health.clone();
            async move {
                match health.get() {
                    Some(health) => health.is_ready(role).await,
                    None => false,
                }
            }
        })
    });
    tokio::spawn(AdminServer::new(readiness).serve(listener, stop))
}
