use std::sync::Arc;

use openarchive_domain::SystemClock;
use openarchive_gateway::{Gateway, GatewayConfig};
use openarchive_topology::Role;

use super::serving::Serving;
use crate::config::RoleConfig;

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Gateway, &config).await?;
    let pool = serving.database(&config).await?;
    let router = Gateway::router(GatewayConfig {
        pool: pool.clone(),
        catalogue: serving.call(&config, Role::Ingest),
        index: serving.call(&config, Role::Index),
        trust: serving.call(&config, Role::Trust),
        worker: serving.call(&config, Role::Worker),
        clock: Arc::new(SystemClock),
    });
    serving.serve_rest(&config, router, &pool).await?;
    pool.close().await;
    Ok(())
}
