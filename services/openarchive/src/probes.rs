//! The port of probes and metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use openarchive_telemetry::{AdminServer, READY_CHECK_SECONDS_MAX, Readiness};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::health::CoreHealth;

/// Asks the database over a connection of its own: a pool whose connections are all in use for a while is busy, and a
/// process that were unready for that would lose its calls in hand, too.
#[derive(Clone)]
pub(crate) struct DatabaseProbe {
    served: PgPool,
    own: PgPool,
}

impl DatabaseProbe {
    /// Of the login and the database of this pool. Connects when it is asked for the first time, and stays connected.
    pub(crate) fn new(served: PgPool) -> Self {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(READY_CHECK_SECONDS_MAX))
            .connect_lazy_with((*served.connect_options()).clone());
        Self { served, own }
    }

    /// Whether it answers, with a schema that this binary serves. Never once the pool was closed.
    pub(crate) async fn is_up(&self) -> bool {
        !self.served.is_closed() && openarchive_schema::check(&self.own).await.is_ok()
    }
}

/// Answers probes and metrics until it is aborted. Ready means: the sockets are open and the database answers. What a
/// role calls is not asked: a role that is down would make all its callers unready too.
pub(crate) fn serve(
    listener: TcpListener,
    pool: Option<PgPool>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let mut readiness = Readiness::new();
    if let Some(pool) = pool {
        let probe = DatabaseProbe::new(pool);
        readiness = readiness.needs("database", move || {
            let probe = probe.clone();
            async move { probe.is_up().await }
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

#[cfg(test)]
mod tests {
    use openarchive_testkit::database::TestDatabase;
    use tokio::time::timeout;

    use super::*;

    async fn is_up(probe: &DatabaseProbe) -> bool {
        // As a readiness check does.
        timeout(Duration::from_secs(READY_CHECK_SECONDS_MAX), probe.is_up()).await.unwrap_or(false)
    }

    #[tokio::test]
    async fn a_pool_that_is_all_in_use_is_busy_and_a_database_that_is_gone_is_down() {
        let database = TestDatabase::start();
        let pool = PgPoolOptions::new().max_connections(1).connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let (probe, later) = (DatabaseProbe::new(pool.clone()), DatabaseProbe::new(pool.clone()));
        let in_use = pool.acquire().await.unwrap();
        assert!(is_up(&probe).await && is_up(&probe).await);
        drop(database);
        // Whether it was connected before or not.
        assert!(!is_up(&probe).await && !is_up(&later).await);
        drop(in_use);
    }

    #[tokio::test]
    async fn nobody_is_sent_to_a_process_that_has_closed_its_pool() {
        let database = TestDatabase::start();
        let pool = PgPoolOptions::new().max_connections(1).connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let probe = DatabaseProbe::new(pool.clone());
        assert!(is_up(&probe).await);
        pool.close().await;
        assert!(!is_up(&probe).await);
    }
}
