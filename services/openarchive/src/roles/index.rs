use std::fs;

use anyhow::Context;
use openarchive_index::IndexServer;
use openarchive_topology::Role;

use super::serving::Serving;
use crate::{config::RoleConfig, core::open_index};

pub(super) async fn run(config: RoleConfig) -> anyhow::Result<()> {
    let serving = Serving::prepare(Role::Index, &config).await?;
    let folder = config.data_dir.clone().context("index has a dataDir")?.join("index");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let engine = open_index(&folder).await?;
    let router = serving.builder().add_service(IndexServer::new(engine).into_service());
    serving.serve(router, None).await
}
