//! What every role does around its service: sockets, certificates, the database, an orderly end.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use openarchive_domain::SystemClock;
use openarchive_gateway::GatewayTls;
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_rpc::{
    Authorise, ClientCertificates, Pace, ReloadingCertificate, ReloadingTls, RpcChannel, ServerTls, TlsFiles,
    connect, serve, server_builder,
};
use openarchive_telemetry::TraceServer;
use openarchive_topology::Role;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tonic::transport::server::Router;
use tower::layer::util::{Identity as NoLayer, Stack};
use tracing::info;

use crate::{config::RoleConfig, probes};

/// Connections of one process's pool.
const POOL_CONNECTIONS_MAX: u32 = 16;
/// Longest that a start waits for the database.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(30);

/// What stands before a role's services: each call has a span, and is authorised by the caller's certificate.
pub(super) type Guarded = Stack<Authorise, Stack<TraceServer, NoLayer>>;

/// A role before and around its service: sockets are bound, certificates loaded, signals watched.
pub(super) struct Serving {
    role: Role,
    domain: String,
    listener: TcpListener,
    admin: TcpListener,
    tls: Arc<ReloadingTls>,
    stop: watch::Receiver<bool>,
}

impl Serving {
    /// Fails at once where a port is taken or a certificate cannot be used.
    pub(super) async fn prepare(role: Role, config: &RoleConfig) -> anyhow::Result<Self> {
        let bind = async |address, key: &'static str| {
            TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
        };
        let key = if role == Role::Gateway { "listen.rest" } else { "listen.grpc" };
        Ok(Self {
            role,
            domain: config.archive.domain.clone(),
            listener: bind(config.listen, key).await?,
            admin: bind(config.admin, "listen.admin").await?,
            tls: ReloadingTls::load(&TlsFiles {
                certificate: config.tls.certificate.clone(),
                key: config.tls.key.clone(),
                authorities: config.tls.ca.clone(),
            })?,
            stop: watch_signals()?,
        })
    }

    /// A channel to every replica of `role`. Connects in the background.
    pub(super) fn call(&self, config: &RoleConfig, role: Role) -> RpcChannel {
        connect(config.targets(role), self.tls.clone(), Pace::NEAR)
    }

    /// The role's own login in a database that this binary can serve.
    pub(super) async fn database(&self, config: &RoleConfig) -> anyhow::Result<PgPool> {
        let url = config.database.as_ref().context("this role has no database")?;
        let pool = PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS_MAX)
            .acquire_timeout(DATABASE_TIME_MAX)
            .connect(url.as_str())
            .await
            .context("cannot connect to the database of `database.urlFile`")?;
        openarchive_schema::check(&pool).await?;
        Ok(pool)
    }

    /// Turns true at SIGTERM or SIGINT.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// The server before its services are added.
    pub(super) fn builder(&self) -> tonic::transport::Server<Guarded> {
        server_builder().layer(TraceServer).layer(Authorise::by_certificate(&self.domain))
    }

    /// Serves until SIGTERM or SIGINT, then until calls in hand have ended.
    pub(super) async fn serve(self, router: Router<Guarded>, pool: Option<&PgPool>) -> anyhow::Result<()> {
        // An agent that enrols has no certificate yet; the table says what it may call.
        let clients = match self.role {
            Role::Ingest => ClientCertificates::Optional,
            _ => ClientCertificates::Required,
        };
        let probes = probes::serve(self.admin, pool.cloned(), self.stop.clone());
        info!(role = self.role.name(), "serves");
        let served = serve(self.listener, router, ServerTls { files: self.tls, clients }, self.stop).await;
        probes.abort();
        Ok(served?)
    }

    /// The same for the gateway, whose callers show tokens.
    pub(super) async fn serve_rest(
        self,
        config: &RoleConfig,
        router: axum::Router,
        pool: &PgPool,
    ) -> anyhow::Result<()> {
        let tls = ReloadingCertificate::load(&config.tls.certificate, &config.tls.key)?;
        let probes = probes::serve(self.admin, Some(pool.clone()), self.stop.clone());
        info!(role = self.role.name(), "serves");
        let mut stop = self.stop;
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let served =
            openarchive_gateway::serve(self.listener, Some(GatewayTls::Reloading(tls)), router, stopped)
                .await;
        probes.abort();
        Ok(served?)
    }
}

/// The local object store in `folder`, which every replica of a role shares.
pub(super) fn objects(folder: &Path) -> anyhow::Result<ObjectStore> {
    let store = LocalStore::open(folder, Arc::new(SystemClock));
    Ok(store.with_context(|| format!("the object store {} does not open", folder.display()))?.into())
}

/// Turns true at SIGTERM or SIGINT.
pub(crate) fn watch_signals() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stops: calls in hand may end");
        let _ = stop.send(true);
        // Kept, so that nobody takes its end for a stop.
        stop.closed().await;
    });
    Ok(stopped)
}
