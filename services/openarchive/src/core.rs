//! Puts the roles together in one process: the same services as over the network, over in-process channels.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use openarchive_domain::SystemClock;
use openarchive_gateway::{Gateway, GatewayConfig, GatewayTls};
use openarchive_index::{IndexServer, engine};
use openarchive_ingest::{Ingest, IngestConfig};
use openarchive_ledger::policy::Policy;
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_rpc::{Role, RpcChannel, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{LINGER_DEFAULT, Storage, StorageConfig, StorageParts};
use openarchive_trust::{AgentsCa, CheckpointIntervals, Keys, Trust, TrustConfig};
use openarchive_worker::{Fixity, Worker, WorkerConfig};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::{info, warn};

use crate::{
    archive_file::ArchiveFile,
    authority::Authority,
    database::Database,
    layout::{DataDir, Secrecy, write_file},
    listeners, probes,
};

/// Wait after a job's first failure; the eighth comes half a minute later. On one machine what is down is down for all.
const JOB_RETRY_AFTER: Duration = Duration::from_millis(250);

/// The roles that hold evidence: trust and storage, over one object store.
pub(crate) struct EvidenceCore {
    trust: Trust,
    storage: Storage,
    pub(crate) parts: StorageParts,
    /// As ingest reaches them. Each role has channels of its own: the table of who may call what rules here too.
    pub(crate) storage_channel: RpcChannel,
    pub(crate) trust_channel: RpcChannel,
}

impl EvidenceCore {
    pub(crate) async fn start(
        data: &DataDir,
        archive: &ArchiveFile,
        database: &Database,
        checkpoints: CheckpointIntervals,
    ) -> anyhow::Result<Self> {
        let objects = open_objects(data)?;
        let pool = database.pool(DatabaseRole::Trust);
        let trust = start_trust(data, archive, &pool, &objects, checkpoints).await?;
        let parts = StorageParts {
            pool: database.pool(DatabaseRole::Storage),
            objects: objects.clone(),
            key_objects: objects,
            trust: in_process_as(Role::Storage, trust.server()),
        };
        let storage = Storage::start(StorageConfig {
            parts: parts.clone(),
            spool_dir: data.spool()?,
            clock: Arc::new(SystemClock),
            linger: LINGER_DEFAULT,
        })
        .await
        .context("storage does not start")?;
        let storage_channel = in_process_as(Role::Ingest, storage.server());
        let trust_channel = in_process_as(Role::Ingest, trust.server());
        Ok(Self { trust, storage, parts, storage_channel, trust_channel })
    }

    pub(crate) async fn shutdown(self) {
        self.storage.shutdown().await;
        self.trust.shutdown().await;
    }
}

pub(crate) fn open_objects(data: &DataDir) -> anyhow::Result<ObjectStore> {
    Ok(LocalStore::open(&data.objects(), Arc::new(SystemClock))
        .context("the object store does not open")?
        .into())
}

async fn start_trust(
    data: &DataDir,
    archive: &ArchiveFile,
    pool: &PgPool,
    objects: &ObjectStore,
    checkpoints: CheckpointIntervals,
) -> anyhow::Result<Trust> {
    let keys =
        Keys::open_or_create(&data.keys()?, pool, objects).await.context("the archive's keys do not open")?;
    let mut config = TrustConfig::new(pool.clone(), objects.clone(), keys, &archive.domain, &archive.name);
    config.intervals = checkpoints;
    config.agents_ca = agents_ca(data)?;
    let trust = Trust::start(config).await.context("trust does not start")?;
    if !data.trust_policy().is_file() {
        let logs =
            archive.tenants.iter().flat_map(|tenant| trust.policy_for(tenant).logs().to_vec()).collect();
        write_file(&data.trust_policy(), &Policy::of_logs(logs).to_text(), Secrecy::Public)?;
    }
    Ok(trust)
}

/// The archive's own authority, which signs agents' certificates too; none where its files are not there, which
/// `rebuild` and `fsck` can do without.
fn agents_ca(data: &DataDir) -> anyhow::Result<Option<AgentsCa>> {
    let folder = data.tls()?;
    let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if !certificate.is_file() || !key.is_file() {
        return Ok(None);
    }
    Ok(Some(AgentsCa::load(&certificate, &key)?))
}

pub(crate) fn start_ingest(archive: &ArchiveFile, evidence: &EvidenceCore, database: &Database) -> Ingest {
    Ingest::start(IngestConfig {
        pool: database.pool(DatabaseRole::Ingest),
        storage: evidence.storage_channel.clone(),
        trust: evidence.trust_channel.clone(),
        tenants: archive.tenants.clone(),
        default_class: archive.default_class,
        clock: Arc::new(SystemClock),
    })
}

/// Every role, running.
pub(crate) struct Core {
    database: Database,
    evidence: EvidenceCore,
    ingest: Ingest,
    worker: Worker,
    stop_front: watch::Sender<bool>,
    agents: JoinHandle<Result<(), tonic::transport::Error>>,
    people: JoinHandle<anyhow::Result<()>>,
    probes: Option<JoinHandle<()>>,
}

/// Sockets that the core serves on, bound before anything else starts, so that a taken port is told at once.
pub(crate) struct FrontListeners {
    pub(crate) ingest: TcpListener,
    pub(crate) gateway: TcpListener,
    /// Probes and metrics.
    pub(crate) admin: Option<TcpListener>,
}

impl Core {
    pub(crate) async fn start(
        data: &DataDir,
        archive: &ArchiveFile,
        authority: &Authority,
        front: FrontListeners,
        checkpoints: CheckpointIntervals,
    ) -> anyhow::Result<Self> {
        let database = Database::start(data).await?;
        let evidence = EvidenceCore::start(data, archive, &database, checkpoints).await?;
        let ingest = start_ingest(archive, &evidence, &database);
        let index_engine = open_index(&data.index()).await?;
        let index = IndexServer::new(index_engine).into_service();
        let worker = Worker::start(WorkerConfig {
            pool: database.pool(DatabaseRole::Worker),
            catalogue: in_process_as(Role::Worker, ingest.catalogue_server()),
            index: in_process_as(Role::Worker, index.clone()),
            storage: in_process_as(Role::Worker, evidence.storage.server()),
            tenants: archive.tenants.iter().map(ToString::to_string).collect(),
            retry_after: JOB_RETRY_AFTER,
            fixity: Some(Fixity::usual(Arc::new(SystemClock))),
        });

        let (stop_front, stopped) = watch::channel(false);
        let probes = front.admin.map(|listener| {
            let pool = database.pool(DatabaseRole::Ingest);
            probes::serve(listener, Some(pool), stopped.clone())
        });
        let agents = listeners::serve_agents(
            front.ingest,
            authority,
            &archive.domain,
            ingest.agent_server(),
            stopped.clone(),
        )?;
        first_token(data, archive, &database.admin).await?;
        let router = Gateway::router(GatewayConfig {
            pool: database.pool(DatabaseRole::Gateway),
            catalogue: in_process_as(Role::Gateway, ingest.catalogue_server()),
            index: in_process_as(Role::Gateway, index),
            trust: in_process_as(Role::Gateway, evidence.trust.server()),
            worker: in_process_as(Role::Gateway, worker.server()),
            clock: Arc::new(SystemClock),
        });
        let tls = listeners::gateway_tls(authority)?;
        let people = tokio::spawn(async move {
            let mut stopped = stopped;
            let stop = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            openarchive_gateway::serve(front.gateway, Some(GatewayTls::Fixed(tls)), router, stop).await?;
            Ok(())
        });
        Ok(Self { database, evidence, ingest, worker, stop_front, agents, people, probes })
    }

    /// Lets calls in hand end, then stops each role after those that call it.
    pub(crate) async fn shutdown(self) {
        let _ = self.stop_front.send(true);
        if let Ok(Err(error)) = self.people.await {
            warn!(%error, "the gateway ends badly");
        }
        if let Ok(Err(error)) = self.agents.await {
            warn!(%error, "ingest's listener ends badly");
        }
        self.worker.shutdown().await;
        self.ingest.shutdown().await;
        self.evidence.shutdown().await;
        if let Some(probes) = self.probes {
            probes.abort();
        }
        self.database.stop().await;
        info!("the archive has stopped");
    }
}

/// Opens the index; a damaged one is derived data and is made anew (the worker feeds it again).
pub(crate) async fn open_index(folder: &Path) -> anyhow::Result<engine::Engine> {
    let fresh = || engine::Generation::from_bytes(openarchive_domain::random::bytes());
    match engine::Engine::open(folder, fresh()).await {
        Ok(index) => Ok(index),
        Err(engine::OpenError::Damaged { .. }) => {
            warn!("the index is damaged; it is made anew from the archive");
            Ok(engine::Engine::recreate(folder, fresh()).await?)
        }
        Err(error) => Err(error).context("the index does not open"),
    }
}

/// Makes an API token for the first tenant if the database knows none, and keeps it in the data folder. Where the file
/// is gone (a crash between database and file, or a person) a further one is made: the old one cannot be read back.
async fn first_token(data: &DataDir, archive: &ArchiveFile, pool: &PgPool) -> anyhow::Result<()> {
    let Some(tenant) = archive.tenants.first() else { return Ok(()) };
    let made = match Gateway::ensure_first_token(pool, tenant, &SystemClock).await? {
        None if !data.api_token().is_file() => Some(Gateway::issue_token(pool, tenant, &SystemClock).await?),
        made => made,
    };
    if let Some(token) = made {
        write_file(&data.api_token(), token.as_bytes(), Secrecy::Secret)?;
        info!(path = %data.api_token().display(), "an API token was made");
    }
    Ok(())
}
