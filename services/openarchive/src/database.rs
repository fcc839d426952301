//! The database of a data folder: a private cluster, and a pool for each service's login role.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use openarchive_private_postgres::{Durability, PrivatePostgres};
use openarchive_schema::DatabaseRole;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::timeout;
use tracing::warn;

use crate::layout::DataDir;

/// Longest wait for connections to come back to their pools before the database's server is stopped all the same.
pub(crate) const CLOSE_SECONDS_MAX: u64 = 5;
/// Connections of the administrator's pool: migrations, a rebuild, an API token.
const ADMIN_CONNECTIONS_MAX: u32 = 4;

/// Connections of one service's pool. All together stay below the cluster's 100, with those of the sequencer, of the
/// worker's listener and of a readiness probe for each role, which are outside of pools.
const fn connections_max(role: DatabaseRole) -> u32 {
    match role {
        DatabaseRole::Ingest | DatabaseRole::Storage => 20,
        DatabaseRole::Trust => 16,
        DatabaseRole::Gateway => 12,
        DatabaseRole::Worker => 8,
    }
}

/// The database of a data folder, running, with its schema.
pub(crate) struct Database {
    /// The cluster's superuser, whom no grant and no row security binds: not for what serves calls.
    pub(crate) admin: PgPool,
    pools: BTreeMap<DatabaseRole, PgPool>,
    server: PrivatePostgres,
}

impl Database {
    pub(crate) async fn start(data: &DataDir) -> anyhow::Result<Self> {
        let (sockets, folder) = (data.tmp(), data.postgres());
        let start = move || PrivatePostgres::start_with_socket_in(&sockets, &folder, Durability::Durable);
        let server =
            tokio::task::spawn_blocking(start).await?.context("the private PostgreSQL does not start")?;
        let admin = PgPoolOptions::new()
            .max_connections(ADMIN_CONNECTIONS_MAX)
            .connect(&server.url("postgres"))
            .await
            .context("cannot connect to the private PostgreSQL")?;
        openarchive_schema::migrate(&admin).await?;
        let mut pools = BTreeMap::new();
        for role in DatabaseRole::ALL {
            let pool = PgPoolOptions::new()
                .max_connections(connections_max(role))
                .connect(&server.url_as(role.as_str(), "postgres"))
                .await
                .with_context(|| format!("cannot connect to the private PostgreSQL as {role}"))?;
            pools.insert(role, pool);
        }
        Ok(Self { admin, pools, server })
    }

    /// The pool of one service.
    pub(crate) fn pool(&self, role: DatabaseRole) -> PgPool {
        self.pools[&role].clone()
    }

    /// Why there is no database any more, if its server has ended by itself.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.server.has_ended()?;
        Some(format!(
            "the private PostgreSQL has ended by itself ({status}): its log is postgres.log beside it"
        ))
    }

    pub(crate) async fn stop(self) {
        let close = async {
            for pool in self.pools.values() {
                pool.close().await;
            }
            self.admin.close().await;
        };
        if timeout(Duration::from_secs(CLOSE_SECONDS_MAX), close).await.is_err() {
            warn!("connections to the database are still in use; its server ends them");
        }
        // Waits for the server's orderly stop.
        let _ = tokio::task::spawn_blocking(move || drop(self.server)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pools_together_leave_room_below_the_clusters_limit() {
        let pools: u32 = DatabaseRole::ALL.into_iter().map(connections_max).sum();
        let probes = DatabaseRole::ALL.len() as u32;
        // 100 of the cluster, of which 3 are the superuser's; one sequencer, one listener, some for a person with psql.
        assert!(pools + ADMIN_CONNECTIONS_MAX + probes <= 97 - 2 - 10, "{pools}");
    }
}
