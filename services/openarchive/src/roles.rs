//! One role a process: what the operator runs. Each role answers gRPC (the gateway: REST) over mutual TLS, and plain
//! HTTP for probes and metrics on a port of its own.

mod gateway;
mod index;
mod ingest;
mod serving;
mod storage;
mod trust;
mod worker;

use std::path::Path;

use openarchive_topology::Role;

use crate::config::{Environment, RoleConfig};
pub(crate) use serving::watch_signals;

/// Runs `role` until SIGTERM or SIGINT, then lets calls in hand end.
pub(crate) async fn run(role: Role, config: &Path) -> anyhow::Result<()> {
    let config = RoleConfig::load(role, config, &Environment::of_process())?;
    match role {
        Role::Trust => trust::run(config).await,
        Role::Storage => storage::run(config).await,
        Role::Ingest => ingest::run(config).await,
        Role::Index => index::run(config).await,
        Role::Worker => worker::run(config).await,
        Role::Gateway => gateway::run(config).await,
        Role::Operator => anyhow::bail!("the operator is a program of its own: openarchive-operator"),
    }
}
