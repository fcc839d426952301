//! Puts the roles together in one process: the same services as over the network, over in-process channels.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use openarchive_domain::SystemClock;
use openarchive_gateway::{Gateway, GatewayConfig};
use openarchive_index::{IndexServer, engine};
use openarchive_ingest::{Ingest, IngestConfig};
use openarchive_ledger::policy::Policy;
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_proto::index::v1::{
    index_service_client::IndexServiceClient, index_service_server::IndexServiceServer,
};
use openarchive_rpc::{Role, RpcChannel, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{LINGER_DEFAULT, Storage, StorageConfig, StorageParts};
use openarchive_trust::{AgentsCa, CheckpointIntervals, Keys, Trust, TrustConfig};
use openarchive_worker::{Fixity, Worker, WorkerConfig};
use sqlx::PgPool;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::{
    archive_file::ArchiveFile,
    database::Database,
    health::CoreHealth,
    layout::{DataDir, Secrecy, write_file},
};

/// Longest wait for the roles to end what they have in hand; what is left the next start takes up.
pub(crate) const ROLES_STOP_SECONDS_MAX: u64 = 20;

/// Wait after a job's first failure; the eighth comes half a minute later. On one machine what is down is down for all.
const JOB_RETRY_AFTER: Duration = Duration::from_millis(250);

/// The roles that hold evidence: trust and storage, over one object store.
pub(crate) struct EvidenceCore {
    pub(crate) trust: Trust,
    pub(crate) storage: Storage,
    pub(crate) parts: StorageParts,
    /// As ingest reaches them. Each role has channels of its own: the table of who may call what rules here too.
    pub(crate) storage_channel: RpcChannel,
    pub(crate) trust_channel: RpcChannel,
}

impl EvidenceCore {
    /// With the agents' authority of the data folder, if it has one.
    pub(crate) async fn start(
        data: &DataDir,
        archive: &ArchiveFile,
        database: &Database,
        checkpoints: CheckpointIntervals,
    ) -> anyhow::Result<Self> {
        Self::start_with(data, archive, database, checkpoints, own_agents_ca(data)?).await
    }

    async fn start_with(
        data: &DataDir,
        archive: &ArchiveFile,
        database: &Database,
        checkpoints: CheckpointIntervals,
        agents_ca: Option<AgentsCa>,
    ) -> anyhow::Result<Self> {
        let objects = open_objects(data)?;
        let pool = database.pool(DatabaseRole::Trust);
        let keys = Keys::open_or_create(&data.keys()?, &pool, &objects)
            .await
            .context("the archive's keys do not open")?;
        let mut config = TrustConfig::new(pool, objects.clone(), keys, &archive.domain, &archive.name);
        config.tenants = Some(archive.tenants.clone());
        config.intervals = checkpoints;
        config.agents_ca = agents_ca;
        let trust = Trust::start(config).await.context("trust does not start")?;
        write_trust_policy(data, archive, &trust)?;
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

/// What agents and verifiers have to trust, anew where a tenant was added.
fn write_trust_policy(data: &DataDir, archive: &ArchiveFile, trust: &Trust) -> anyhow::Result<()> {
    let logs = archive.tenants.iter().flat_map(|tenant| trust.policy_for(tenant).logs().to_vec()).collect();
    let text = Policy::of_logs(logs).to_text();
    if fs::read(data.trust_policy()).is_ok_and(|standing| standing == text) {
        return Ok(());
    }
    write_file(&data.trust_policy(), &text, Secrecy::Public)
}

/// The archive's own authority, which signs agents' certificates too; none where its files are not there, which
/// `rebuild` and `fsck` can do without.
pub(crate) fn own_agents_ca(data: &DataDir) -> anyhow::Result<Option<AgentsCa>> {
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

/// How the roles run, beside what the data folder says.
pub(crate) struct CoreSettings {
    pub(crate) checkpoints: CheckpointIntervals,
    /// Signs agents' certificates.
    pub(crate) agents_ca: Option<AgentsCa>,
    pub(crate) fixity: Fixity,
}

/// Every role, running, without a socket.
pub(crate) struct Core {
    pub(crate) database: Database,
    pub(crate) evidence: EvidenceCore,
    pub(crate) ingest: Ingest,
    index: IndexServiceServer<IndexServer>,
    worker: Worker,
}

impl Core {
    pub(crate) async fn start(
        data: &DataDir,
        archive: &ArchiveFile,
        settings: CoreSettings,
    ) -> anyhow::Result<Self> {
        let CoreSettings { checkpoints, agents_ca, fixity } = settings;
        let database = Database::start(data).await?;
        let evidence = EvidenceCore::start_with(data, archive, &database, checkpoints, agents_ca).await?;
        let ingest = start_ingest(archive, &evidence, &database);
        let index = IndexServer::new(open_index(&data.index()).await?).into_service();
        let worker = Worker::start(WorkerConfig {
            pool: database.pool(DatabaseRole::Worker),
            catalogue: in_process_as(Role::Worker, ingest.catalogue_server()),
            index: in_process_as(Role::Worker, index.clone()),
            storage: in_process_as(Role::Worker, evidence.storage.server()),
            tenants: archive.tenants.iter().map(ToString::to_string).collect(),
            retry_after: JOB_RETRY_AFTER,
            fixity: Some(fixity),
        });
        first_token(data, archive, &database.admin).await?;
        Ok(Self { database, evidence, ingest, index, worker })
    }

    /// REST.
    pub(crate) fn gateway(&self) -> axum::Router {
        Gateway::router(GatewayConfig {
            pool: self.database.pool(DatabaseRole::Gateway),
            catalogue: in_process_as(Role::Gateway, self.ingest.catalogue_server()),
            index: in_process_as(Role::Gateway, self.index.clone()),
            trust: in_process_as(Role::Gateway, self.evidence.trust.server()),
            worker: in_process_as(Role::Gateway, self.worker.server()),
            clock: Arc::new(SystemClock),
        })
    }

    pub(crate) fn health(&self) -> CoreHealth {
        let index = IndexServiceClient::new(in_process_as(Role::Gateway, self.index.clone()));
        CoreHealth::new(|role| self.database.pool(role), self.evidence.trust.health(), index)
    }

    /// Stops each role after those that call it, then the database. Whoever calls from outside has been sent away.
    pub(crate) async fn shutdown(self) {
        let Self { database, evidence, ingest, index: _, worker } = self;
        let roles = async {
            worker.shutdown().await;
            ingest.shutdown().await;
            evidence.shutdown().await;
        };
        if timeout(Duration::from_secs(ROLES_STOP_SECONDS_MAX), roles).await.is_err() {
            warn!("work in hand is broken off: it outlasts the time that a stop waits");
        }
        database.stop().await;
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
