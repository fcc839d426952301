//! `openarchive all --config FILE`: every role in one process, as an operator runs it, with certificates that are issued
//! elsewhere.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use anyhow::bail;
use openarchive_domain::SystemClock;
use openarchive_private_postgres::STOP_SECONDS_MAX as POSTGRES_STOP_SECONDS_MAX;
use openarchive_rpc::{DRAIN_SECONDS_MAX, ReloadingCertificate, ReloadingTls, TlsFiles};
use openarchive_trust::{AgentsCa, CheckpointIntervals};
use openarchive_worker::Fixity;
use tracing::info;

use crate::{
    archive_file::ArchiveFile,
    config::{AllConfig, Environment},
    core::{Core, CoreSettings, ROLES_STOP_SECONDS_MAX},
    database::CLOSE_SECONDS_MAX,
    layout::DataDir,
    listeners::{Failure, Front, FrontListeners, FrontTls, bind, failure, told},
    probes, rebuild,
    roles::watch_signals,
};

/// Longest stop after SIGTERM, in seconds: calls in hand, what the roles have in hand, connections, the database. A pod
/// that is given less has its database killed.
const STOP_SECONDS_MAX: u64 =
    DRAIN_SECONDS_MAX + ROLES_STOP_SECONDS_MAX + CLOSE_SECONDS_MAX + POSTGRES_STOP_SECONDS_MAX;

/// Runs until SIGTERM or SIGINT, then stops in order within [`STOP_SECONDS_MAX`].
pub(crate) async fn run(path: &Path) -> anyhow::Result<()> {
    let config = AllConfig::load(path, &Environment::of_process())?;
    let stop = watch_signals()?;
    let data = DataDir::open(&config.data_dir)?.with(config.tmp_dir.clone(), config.keys.clone());
    rebuild::refuse_unfinished(&data)?;
    let archive = ArchiveFile::adopt(data.root(), &config.archive)?;
    let (settings, tls) = (settings(&config)?, certificates(&config)?);
    let listeners = FrontListeners {
        grpc: bind(config.grpc, "listen.grpc").await?,
        rest: bind(config.rest, "listen.rest").await?,
    };
    // Alive at once, and ready later: recovery of a large database takes its time.
    let health = Arc::new(OnceLock::new());
    let probes = probes::serve_core(bind(config.admin, "listen.admin").await?, &health, stop.clone());
    let mut core = tokio::select! {
        core = Core::start(&data, &archive, settings) => core?,
        () = told(stop.clone()) => return Ok(()),
    };
    let front = Front::of_files(&core, listeners, tls, &archive.domain);
    let _ = health.set(core.health());
    info!(data = %data.root().display(), "serves every role");

    let failure = tokio::select! {
        () = told(stop) => None,
        failure = failure(&mut core.database, &front) => match failure {
            Failure::Database(why) => bail!(why),
            Failure::Listener(why) => Some(why),
        },
    };
    if failure.is_some() {
        // Not ready from now on: what is left of it only ends.
        probes.abort();
    }
    info!(seconds_at_most = STOP_SECONDS_MAX, "stops");
    front.drain().await;
    core.shutdown().await;
    probes.abort();
    match failure {
        None => Ok(()),
        Some(why) => bail!(why),
    }
}

fn settings(config: &AllConfig) -> anyhow::Result<CoreSettings> {
    let agents_ca = config.agents_ca.as_ref().map(|(certificate, key)| AgentsCa::load(certificate, key));
    Ok(CoreSettings {
        checkpoints: CheckpointIntervals::PRODUCTION,
        agents_ca: agents_ca.transpose()?,
        fixity: Fixity {
            interval: config.fixity.interval,
            bytes_per_second: config.fixity.bytes_per_second,
            clock: Arc::new(SystemClock),
        },
    })
}

fn certificates(config: &AllConfig) -> anyhow::Result<FrontTls> {
    let tls = &config.tls;
    Ok(FrontTls {
        grpc: ReloadingTls::load(&TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            authorities: tls.ca.clone(),
        })?,
        rest: ReloadingCertificate::load(&tls.certificate, &tls.key)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_stop_is_documented() {
        let text = include_str!("../../../docs/configuration.md");
        assert!(text.contains(&format!("at most {STOP_SECONDS_MAX} seconds")), "{STOP_SECONDS_MAX}");
    }
}
