//! The archive's `config` log: from the archive itself, or from a file.

use anyhow::{Context, bail};
use kube::{Resource, core::NamespaceResourceScope};
use openarchive_operator_api::{EdgeAgent, Kind, NetworkPolicySet, RetentionPolicy};
use openarchive_operator_controller::core::{History, Step, read_config_log, read_history};
use openarchive_operator_snapshot::{ConfigLog, LogLeaf};
use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
};

use super::Of;
use crate::{cluster::Cluster, reach::Way, text::Progress};

#[derive(clap::Args, Clone)]
pub(crate) struct Source {
    /// The ArchiveCore whose ledger it is; by default the one that the object refers to
    #[arg(long)]
    archive: Option<String>,
    /// Leaves of the config log, one in a line, from leaf 0 on: a file of every export, instead of the archive
    #[arg(long, value_name = "FILE")]
    leaves: Option<PathBuf>,
    /// Look at ControllerRevisions alone: a history that was replaced as a whole looks good then
    #[arg(long, conflicts_with = "leaves")]
    without_ledger: bool,
}

/// What `verify` holds the cluster against.
pub(crate) enum Ledger {
    NotAsked,
    File(ConfigLog),
    Archive(History),
}

impl Source {
    /// `None`: it was not asked for.
    pub(crate) async fn log(&self, cluster: &Cluster, of: &Of) -> anyhow::Result<Option<ConfigLog>> {
        if self.without_ledger {
            return Ok(None);
        }
        if let Some(path) = &self.leaves {
            return Ok(Some(of_file(path)?));
        }
        let way = self.reach(cluster, of).await?;
        Ok(Some(read_config_log(&way.core).await?.0))
    }

    /// With checkpoint and bodies where it is read from the archive.
    pub(crate) async fn whole(&self, cluster: &Cluster, of: &Of) -> anyhow::Result<Ledger> {
        if self.without_ledger {
            return Ok(Ledger::NotAsked);
        }
        if let Some(path) = &self.leaves {
            return Ok(Ledger::File(of_file(path)?));
        }
        let way = self.reach(cluster, of).await?;
        Ok(Ledger::Archive(read_whole(&way).await?))
    }

    async fn reach(&self, cluster: &Cluster, of: &Of) -> anyhow::Result<Way> {
        let archive = match &self.archive {
            Some(archive) => archive.clone(),
            None => archive_of(cluster, of.kind, &of.name).await?,
        };
        cluster.reach(&archive).await
    }
}

/// Shows on a terminal how far it is.
pub(crate) async fn read_whole(way: &Way) -> anyhow::Result<History> {
    let mut progress = Progress::new();
    let history = read_history(&way.core, |step| match step {
        Step::Leaves => progress.show("reads the config log"),
        Step::Checkpoint => progress.show("waits for a signed checkpoint (half a minute at most)"),
        Step::Bodies { read, of } => progress.show(&format!("reads configurations: {read} of {of}")),
    });
    history.await?.context("the archive has recorded no configuration yet")
}

fn of_file(path: &Path) -> anyhow::Result<ConfigLog> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let leaves: Vec<_> =
        (0..).zip(lines).map(|(index, line)| LogLeaf { index, body: line.to_vec() }).collect();
    Ok(ConfigLog::read(&leaves))
}

/// Name of the archive that an object refers to.
async fn archive_of(cluster: &Cluster, kind: Kind, name: &str) -> anyhow::Result<String> {
    Ok(match kind {
        Kind::ArchiveCore => name.to_owned(),
        Kind::EdgeAgent => object::<EdgeAgent>(cluster, name).await?.spec.archive_ref.name,
        Kind::NetworkPolicySet => object::<NetworkPolicySet>(cluster, name).await?.spec.archive_ref.name,
        Kind::RetentionPolicy => object::<RetentionPolicy>(cluster, name).await?.spec.archive_ref.name,
    })
}

async fn object<K>(cluster: &Cluster, name: &str) -> anyhow::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let kind = K::kind(&());
    let found =
        cluster.api::<K>().get_opt(name).await.with_context(|| format!("cannot read {kind} {name}"))?;
    match found {
        Some(object) => Ok(object),
        None => bail!("there is no {kind} {name}: name its archive with --archive"),
    }
}
