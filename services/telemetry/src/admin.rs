//! Health and metrics in plain HTTP, on a port of their own: kubelet's probes and Prometheus have no certificate.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures::future::{BoxFuture, join_all};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::metrics;

/// Most connections at a time; further ones wait in the kernel's queue.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Longest life of a connection, in seconds; each has one request.
pub const ADMIN_CONNECTION_SECONDS_MAX: u64 = 10;
/// Longest that a readiness check may take, in seconds; after that what it checks is not ready.
pub const READY_CHECK_SECONDS_MAX: u64 = 3;

/// Pause after the socket could not accept, so that a lack of file descriptors is not met with a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// OpenMetrics 1.0 section 4.1.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Check = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What has to be there before a process can be given work.
#[derive(Clone, Default)]
pub struct Readiness(Vec<(&'static str, Check)>);

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Readiness {
    /// Always ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `check` at each probe. `name` is all that an answer says about it; the check logs why, if it knows.
    #[must_use]
    pub fn needs<F, A>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = bool> + Send + 'static,
    {
        self.0.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// The names of what is not ready now, or has not said so within `patience`.
    async fn missing(&self, patience: Duration) -> Vec<&'static str> {
        let checks = self.0.iter().map(|(name, check)| async move {
            let ready = timeout(patience, check()).await.unwrap_or(false);
            (!ready).then_some(*name)
        });
        join_all(checks).await.into_iter().flatten().collect()
    }
}

/// `/livez`: the process answers. `/readyz`: it can be given work, else 503 and the names of what is missing.
/// `/metrics`: OpenMetrics text.
#[derive(Debug, Clone)]
pub struct AdminServer {
    readiness: Readiness,
    limits: AdminLimits,
    routes: Router,
}

/// How long the health port waits.
#[derive(Debug, Clone, Copy)]
pub struct AdminLimits {
    /// For a readiness check.
    pub check: Duration,
    /// For a connection to end.
    pub connection: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(READY_CHECK_SECONDS_MAX),
            connection: Duration::from_secs(ADMIN_CONNECTION_SECONDS_MAX),
        }
    }
}

#[derive(Clone)]
struct Shown {
    readiness: Readiness,
    patience: Duration,
    stop: watch::Receiver<bool>,
}

impl AdminServer {
    pub fn new(readiness: Readiness) -> Self {
        Self::within(AdminLimits::default(), readiness)
    }

    /// [`Self::new`] with other limits.
    pub fn within(limits: AdminLimits, readiness: Readiness) -> Self {
        Self { readiness, limits, routes: Router::new() }
    }

    /// Answers `routes`, too, within the same limits.
    #[must_use]
    pub fn with(self, routes: Router) -> Self {
        Self { routes, ..self }
    }

    /// Serves until it is dropped. From `stop` on the process is alive and not ready, so that nobody sends it new work
    /// while calls in hand end.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(show_metrics))
            .with_state(Shown { readiness: self.readiness, patience: self.limits.check, stop })
            .merge(self.routes);
        let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            // Never closed.
            let permit = room.clone().acquire_owned().await;
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        let _permit = permit;
                        answer(stream, router, self.limits.connection).await;
                    });
                }
                Err(error) => {
                    warn!(%error, "a probe's connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router, patience: Duration) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().keep_alive(false);
    let talk = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    match timeout(patience, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a probe breaks off"),
        Err(_) => debug!("a probe takes too long and is cut off"),
    }
}

async fn readyz(State(shown): State<Shown>) -> impl IntoResponse {
    if *shown.stop.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n".to_owned());
    }
    match shown.readiness.missing(shown.patience).await.as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))),
    }
}

async fn show_metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render())
}
