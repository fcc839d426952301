use std::{sync::Arc, time::Duration};

use openarchive_domain::SystemClock;
use openarchive_topology::Role;
use openarchive_worker::{Fixity, Worker, WorkerConfig};

use super::serving::Serving;
use crate::config::RoleConfig;

/// Wait after a job's first failure; each further one waits twice as long.
const JOB_RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Worker, &config).await?;
    let pool = serving.database(&config).await?;
    let worker = Worker::start(WorkerConfig {
        pool: pool.clone(),
        catalogue: serving.call(&config, Role::Ingest),
        index: serving.call(&config, Role::Index),
        storage: serving.call(&config, Role::Storage),
        tenants: config.archive.tenants.iter().map(ToString::to_string).collect(),
        retry_after: JOB_RETRY_AFTER,
        fixity: Some(Fixity {
            interval: config.fixity.interval,
            bytes_per_second: config.fixity.bytes_per_second,
            clock: Arc::new(SystemClock),
        }),
    });
    let router = serving.builder().add_service(worker.server());
    serving.serve(router, Some(&pool)).await?;
    worker.shutdown().await;
    pool.close().await;
    Ok(())
}
