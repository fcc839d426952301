use std::sync::Arc;

use openarchive_domain::SystemClock;
use openarchive_ingest::{Ingest, IngestConfig};
use openarchive_topology::Role;

use super::serving::Serving;
use crate::config::RoleConfig;

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Ingest, &config).await?;
    let pool = serving.database(&config).await?;
    let ingest = Ingest::start(IngestConfig {
        pool: pool.clone(),
        storage: serving.call(&config, Role::Storage),
        trust: serving.call(&config, Role::Trust),
        tenants: config.archive.tenants.clone(),
        default_class: config.archive.default_class,
        clock: Arc::new(SystemClock),
    });
    let router = serving.builder().add_service(ingest.agent_server()).add_service(ingest.catalogue_server());
    serving.serve(router, Some(&pool)).await?;
    ingest.shutdown().await;
    pool.close().await;
    Ok(())
}
