use anyhow::Context;
use openarchive_topology::Role;
use openarchive_trust::{AgentsCa, CheckpointIntervals, Keys, Trust, TrustConfig};

use super::serving::{Serving, objects};
use crate::config::RoleConfig;

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Trust, &config).await?;
    let pool = serving.database(&config).await?;
    let objects = objects(config.objects.as_deref().context("trust has objects")?)?;
    let section = config.trust.as_ref().context("trust has its section")?;
    let folder = &section.keys;
    let keys =
        Keys::open_or_create(folder, &pool, &objects).await.context("the archive's keys do not open")?;
    let mut trust =
        TrustConfig::new(pool.clone(), objects, keys, &config.archive.domain, &config.archive.name);
    trust.tenants = Some(config.archive.tenants.clone());
    trust.intervals = CheckpointIntervals::PRODUCTION;
    if let Some((certificate, key)) = &section.agents_ca {
        trust.agents_ca = Some(AgentsCa::load(certificate, key).context("trust.agentsCa")?);
    }
    let trust = Trust::start(trust).await.context("trust does not start")?;
    trust.hurry_when(serving.stopped());
    let router = serving.builder().add_service(trust.server());
    serving.serve(router, Some(&pool)).await?;
    trust.shutdown().await;
    pool.close().await;
    Ok(())
}
