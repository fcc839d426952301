//! A whole archive of its own for each test.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::{AgentRef, Clock, RetentionClass, SystemClock, Tenant};
use openarchive_ingest::{Finding, Ingest, IngestConfig, RebuildReport};
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_proto::ingest::v1::{
    CompletenessRequest, CompletenessRow, GetMessageRequest, GetMessageResponse, GetProofRequest,
    ListMessagesRequest, MessageSummary, OpenMessageRequest, Scope,
    catalogue_service_client::CatalogueServiceClient, scope,
};
use openarchive_proto::storage::v1::storage_service_client::StorageServiceClient;
use openarchive_rpc::{PeerIdentity, RPC_MESSAGE_BYTES_MAX, Role, RpcChannel, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{Storage, StorageConfig, StorageParts};
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{AgentsCa, CheckpointIntervals, Keys, Trust, TrustConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tonic::Status;

use crate::{
    agent::Agent,
    faults::{Faults, Faulty},
};

pub(crate) const TENANT: &str = "acme";
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Archive {
    /// The superuser's: for what only a test does.
    pub(crate) pool: PgPool,
    /// The service's own.
    pub(crate) service: PgPool,
    pub(crate) ingest: Ingest,
    pub(crate) catalogue: CatalogueServiceClient<RpcChannel>,
    /// Of calls from ingest to trust and to storage.
    pub(crate) faults: Faults,
    pub(crate) storage_channel: RpcChannel,
    pub(crate) trust_channel: RpcChannel,
    clock: Arc<dyn Clock>,
    storage: Storage,
    _trust: Trust,
    // Dropped last: a failed test keeps both.
    dir: TempDir,
    database: TestDatabase,
}

impl Archive {
    pub(crate) async fn start() -> Self {
        Self::start_at(Arc::new(SystemClock)).await
    }

    pub(crate) async fn start_at(clock: Arc<dyn Clock>) -> Self {
        let database = TestDatabase::start();
        let pool = PgPoolOptions::new().max_connections(8).connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let pool_of = |role: DatabaseRole| {
            let url = database.url_as(role.as_str());
            PgPoolOptions::new().max_connections(24).connect_lazy(&url).unwrap()
        };
        let service = pool_of(DatabaseRole::Ingest);
        let dir = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(&dir.path().join("objects"), Arc::clone(&clock)).unwrap();
        let objects: ObjectStore = objects.into();
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let mut config =
            TrustConfig::new(pool_of(DatabaseRole::Trust), objects.clone(), keys, "archive.example", "test");
        config.intervals = CheckpointIntervals::every(Duration::from_millis(30));
        let (certificate, key) = make_authority(dir.path());
        config.agents_ca = Some(AgentsCa::load(&certificate, &key).unwrap());
        let trust = Trust::start(config).await.unwrap();
        let own_trust = in_process_as(Role::Storage, trust.server());
        let parts = StorageParts {
            pool: pool_of(DatabaseRole::Storage),
            key_objects: objects.clone(),
            objects,
            trust: own_trust,
        };
        let storage = Storage::start(StorageConfig {
            parts,
            spool_dir: dir.path().join("spool"),
            clock: Arc::clone(&clock),
            linger: Duration::from_millis(5),
        });
        let storage = storage.await.unwrap();
        let faults = Faults::default();
        let faulty = Faulty { inner: storage.server(), faults: faults.clone() };
        let storage_channel = in_process_as(Role::Ingest, faulty);
        let faulty = Faulty { inner: trust.server(), faults: faults.clone() };
        let trust_channel = in_process_as(Role::Ingest, faulty);
        let ingest = ingest(&service, &storage_channel, &trust_channel, &clock, RetentionClass::DEFAULT);
        let catalogue = catalogue(&ingest);
        Self {
            pool,
            service,
            ingest,
            catalogue,
            faults,
            storage_channel,
            trust_channel,
            clock,
            storage,
            _trust: trust,
            dir,
            database,
        }
    }

    /// Stops ingest and starts it again over the same data.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(RetentionClass::DEFAULT).await;
    }

    /// The same, with another rule for new mail.
    pub(crate) async fn restart_with(&mut self, class: RetentionClass) {
        let fresh = ingest(&self.service, &self.storage_channel, &self.trust_channel, &self.clock, class);
        self.catalogue = catalogue(&fresh);
        std::mem::replace(&mut self.ingest, fresh).shutdown().await;
    }

    /// Another process of the same service, over the same data.
    pub(crate) fn replica(&self) -> Ingest {
        let (storage, trust) = (&self.storage_channel, &self.trust_channel);
        ingest(&self.service, storage, trust, &self.clock, RetentionClass::DEFAULT)
    }

    pub(crate) fn agent(&self, name: &str) -> Agent {
        let reference: AgentRef = name.parse().unwrap();
        let caller = PeerIdentity::local_agent(reference.clone());
        Agent::new(in_process_as(caller, self.ingest.agent_server()), reference)
    }

    /// Another pool of a service's role, to see what it sees.
    pub(crate) fn pool_of(&self, role: DatabaseRole) -> PgPool {
        let url = self.database.url_as(role.as_str());
        PgPoolOptions::new().max_connections(8).connect_lazy(&url).unwrap()
    }

    /// Certificate and key of the authority that signs agents' certificates.
    pub(crate) fn authority(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("ca.pem"), self.dir.path().join("ca.key"))
    }

    /// Storage as the worker reaches it.
    pub(crate) fn storage_for_worker(&self) -> StorageServiceClient<RpcChannel> {
        StorageServiceClient::new(self.storage_of_worker(&Faults::default()))
    }

    /// The catalogue as the worker reaches it.
    pub(crate) fn catalogue_for_worker(&self) -> CatalogueServiceClient<RpcChannel> {
        CatalogueServiceClient::new(self.catalogue_of_worker(&Faults::default()))
    }

    pub(crate) fn storage_of_worker(&self, faults: &Faults) -> RpcChannel {
        let inner = self.storage.server();
        in_process_as(Role::Worker, Faulty { inner, faults: faults.clone() })
    }

    pub(crate) fn catalogue_of_worker(&self, faults: &Faults) -> RpcChannel {
        let inner = self.ingest.catalogue_server();
        in_process_as(Role::Worker, Faulty { inner, faults: faults.clone() })
    }

    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Waits until the outbox is empty.
    pub(crate) async fn all_leaves(&self) {
        let begun = tokio::time::Instant::now();
        while self.count("ingest.outbox").await > 0 {
            assert!(begun.elapsed() < WAIT_MAX, "leaves are still waiting in the outbox");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn get(&self, message: &[u8]) -> Result<GetMessageResponse, Status> {
        let request = GetMessageRequest {
            scope: Some(everything()),
            tenant: TENANT.into(),
            message: message.to_vec().into(),
        };
        Ok(self.catalogue.clone().get_message(request).await?.into_inner())
    }

    pub(crate) async fn open(&self, message: &[u8]) -> Result<Vec<u8>, Status> {
        let request = OpenMessageRequest {
            scope: Some(everything()),
            tenant: TENANT.into(),
            message: message.to_vec().into(),
        };
        let mut chunks = self.catalogue.clone().open_message(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend_from_slice(&chunk.chunk);
        }
        Ok(bytes)
    }

    pub(crate) async fn list(&self) -> Vec<MessageSummary> {
        let request = ListMessagesRequest {
            scope: Some(everything()),
            tenant: TENANT.into(),
            after_ordinal: 0,
            limit: 0,
        };
        self.catalogue_for_worker().list_messages(request).await.unwrap().into_inner().messages
    }

    pub(crate) async fn proof(&self, message: &[u8]) -> Result<String, Status> {
        let request = GetProofRequest {
            scope: Some(everything()),
            tenant: TENANT.into(),
            message: message.to_vec().into(),
            observation: None,
        };
        Ok(self.catalogue.clone().get_proof(request).await?.into_inner().proof)
    }

    pub(crate) async fn completeness(&self, agent: &str, day: &str) -> Vec<CompletenessRow> {
        let request = CompletenessRequest { tenant: TENANT.into(), agent: agent.into(), day: day.into() };
        self.catalogue.clone().completeness(request).await.unwrap().into_inner().rows
    }

    pub(crate) async fn fsck(&self) -> Vec<Finding> {
        let (storage, trust) = (self.storage_channel.clone(), self.trust_channel.clone());
        openarchive_ingest::fsck(&self.service, storage, trust, &[tenant()], &|_| {}).await.unwrap()
    }

    pub(crate) async fn rebuild(&self) -> RebuildReport {
        let (storage, trust) = (self.storage_channel.clone(), self.trust_channel.clone());
        openarchive_ingest::rebuild(&self.pool, storage, trust, &[tenant()], &*self.clock, &|_| {})
            .await
            .unwrap()
    }
}

fn make_authority(folder: &Path) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    let (certificate, secret) = (folder.join("ca.pem"), folder.join("ca.key"));
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    std::fs::write(&certificate, CertifiedIssuer::self_signed(params, key).unwrap().pem()).unwrap();
    (certificate, secret)
}

pub(crate) fn tenant() -> Tenant {
    TENANT.parse().unwrap()
}

pub(crate) fn origin_of(tenant: &str) -> String {
    format!("archive.example/test/{tenant}/evidence/1")
}

pub(crate) fn everything() -> Scope {
    Scope { kind: Some(scope::Kind::All(scope::All {})) }
}

fn ingest(
    pool: &PgPool,
    storage: &RpcChannel,
    trust: &RpcChannel,
    clock: &Arc<dyn Clock>,
    default_class: RetentionClass,
) -> Ingest {
    Ingest::start(IngestConfig {
        pool: pool.clone(),
        storage: storage.clone(),
        trust: trust.clone(),
        tenants: vec![tenant(), "other".parse().unwrap()],
        default_class,
        clock: Arc::clone(clock),
    })
}

fn catalogue(ingest: &Ingest) -> CatalogueServiceClient<RpcChannel> {
    let channel = in_process_as(Role::Gateway, ingest.catalogue_server());
    CatalogueServiceClient::new(channel).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
}
