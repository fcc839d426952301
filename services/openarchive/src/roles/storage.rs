use std::{fs, sync::Arc};

use anyhow::Context;
use openarchive_domain::SystemClock;
use openarchive_storage::{LINGER_DEFAULT, Storage, StorageConfig, StorageParts};
use openarchive_topology::Role;

use super::serving::{Serving, objects};
use crate::config::RoleConfig;

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Storage, &config).await?;
    let pool = serving.database(&config).await?;
    let objects = objects(config.objects.as_deref().context("storage has objects")?)?;
    let spool_dir = config.data_dir.clone().context("storage has a dataDir")?.join("spool");
    fs::create_dir_all(&spool_dir).with_context(|| format!("cannot make {}", spool_dir.display()))?;
    let parts = StorageParts {
        pool: pool.clone(),
        objects: objects.clone(),
        key_objects: objects,
        trust: serving.call(&config, Role::Trust),
    };
    let storage = Storage::start(StorageConfig {
        parts,
        spool_dir,
        clock: Arc::new(SystemClock),
        linger: LINGER_DEFAULT,
    })
    .await
    .context("storage does not start")?;
    let router = serving.builder().add_service(storage.server());
    serving.serve(router, Some(&pool)).await?;
    storage.shutdown().await;
    pool.close().await;
    Ok(())
}
