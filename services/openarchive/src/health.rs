//! Whether each role of a core can do its work.

use std::collections::BTreeMap;

use openarchive_proto::index::v1::{IndexStatusRequest, index_service_client::IndexServiceClient};
use openarchive_rpc::RpcChannel;
use openarchive_schema::DatabaseRole;
use openarchive_topology::Role;
use openarchive_trust::TrustHealth;
use sqlx::PgPool;

use crate::probes::DatabaseProbe;

/// A view of a running core. Says no once it has stopped.
pub(crate) struct CoreHealth {
    databases: BTreeMap<DatabaseRole, DatabaseProbe>,
    trust: TrustHealth,
    index: IndexServiceClient<RpcChannel>,
}

impl CoreHealth {
    /// The roles of a core.
    pub(crate) const ROLES: [Role; 6] =
        [Role::Trust, Role::Storage, Role::Index, Role::Ingest, Role::Worker, Role::Gateway];

    pub(crate) fn new(
        pool: impl Fn(DatabaseRole) -> PgPool,
        trust: TrustHealth,
        index: IndexServiceClient<RpcChannel>,
    ) -> Self {
        let probe = |role| (role, DatabaseProbe::new(pool(role)));
        Self { databases: DatabaseRole::ALL.into_iter().map(probe).collect(), trust, index }
    }

    /// Whether its login reaches the database, and what it alone has works: trust the logs, index the index.
    pub(crate) async fn is_ready(&self, role: Role) -> bool {
        match role {
            Role::Trust => self.trust.now().stopped.is_none() && self.has_database(DatabaseRole::Trust).await,
            Role::Storage => self.has_database(DatabaseRole::Storage).await,
            Role::Ingest => self.has_database(DatabaseRole::Ingest).await,
            Role::Worker => self.has_database(DatabaseRole::Worker).await,
            Role::Gateway => self.has_database(DatabaseRole::Gateway).await,
            Role::Index => self.index.clone().index_status(IndexStatusRequest {}).await.is_ok(),
            Role::Operator => false,
        }
    }

    async fn has_database(&self, role: DatabaseRole) -> bool {
        self.databases[&role].is_up().await
    }
}
