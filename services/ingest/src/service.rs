use std::{collections::BTreeSet, fmt, sync::Arc};

use openarchive_domain::{Clock, RetentionClass, Tenant};
use openarchive_proto::ingest::v1::{
    agent_service_server::AgentServiceServer, catalogue_service_server::CatalogueServiceServer,
};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{
    agent_api::AgentApi,
    blob_store::BlobStore,
    catalogue_api::CatalogueApi,
    core::{Core, ENROLMENTS_AT_ONCE_MAX, READ_BACKS_MAX},
    enrolment::Issuer,
    ledger_client::LedgerClient,
    outbox::Sweeper,
    retention::Retention,
};

/// What the service is made of.
pub struct IngestConfig {
    pub pool: PgPool,
    pub storage: RpcChannel,
    pub trust: RpcChannel,
    /// Whose agents are served; a certificate of any other tenant is refused.
    pub tenants: Vec<Tenant>,
    /// The class of mail that no policy matches.
    pub default_class: RetentionClass,
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for IngestConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestConfig").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

/// The running service. Keeps no state of its own: everything is in the database, so that any replica can answer any
/// call. Retention policies are remembered and compared with the database before they are used.
pub struct Ingest {
    core: Arc<Core>,
    sweeper: Sweeper,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Starts the outbox sweeper; the servers are built by the caller. Needs a tokio runtime.
    pub fn start(config: IngestConfig) -> Self {
        let IngestConfig { pool, storage, trust, tenants, default_class, clock } = config;
        let tenants: BTreeSet<Tenant> = tenants.into_iter().collect();
        let issuer = Issuer::new(trust.clone());
        let ledger = LedgerClient::new(trust);
        let sweeper = Sweeper::start(pool.clone(), ledger.clone(), tenants.clone());
        let core = Core {
            pool,
            blobs: BlobStore::new(storage),
            ledger,
            issuer,
            tenants,
            retention: Retention::new(default_class),
            clock,
            read_backs: Semaphore::new(READ_BACKS_MAX),
            enrolments: Semaphore::new(ENROLMENTS_AT_ONCE_MAX),
        };
        Self { core: Arc::new(core), sweeper }
    }

    /// What agents call. Serve it behind [`openarchive_rpc::Authorise`]: without that layer nobody is an agent.
    pub fn agent_server(&self) -> AgentServiceServer<AgentApi> {
        AgentServiceServer::new(AgentApi::new(Arc::clone(&self.core)))
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }

    /// What the core's own services call.
    pub fn catalogue_server(&self) -> CatalogueServiceServer<CatalogueApi> {
        CatalogueServiceServer::new(CatalogueApi::new(Arc::clone(&self.core)))
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }

    /// Ends the background work. Calls under way are the servers' to end; what they leave in the outbox the next
    /// start sends.
    pub async fn shutdown(self) {
        self.sweeper.stop().await;
    }
}
