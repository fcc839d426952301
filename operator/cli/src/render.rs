//! `render`: every object that manifests would lead to, so that a pull request shows what it would change.

use anyhow::{Context, bail};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, Kind, NetworkPolicySet};
use openarchive_operator_cli::manifests::{Object, read_files};
use openarchive_operator_controller::{Settings, render};
use std::{io::Write, path::PathBuf, process::ExitCode};

use crate::validate;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// YAML or JSON, of several documents; - is the standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Prefix of the archive's images, as the operator has it
    #[arg(long, default_value = "")]
    image_registry: String,
    /// Where the operator runs: its pods may reach the archive's
    #[arg(long, default_value = "openarchive-system")]
    operator_namespace: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = read_files(&args.files)?;
    if !read.findings.is_empty() {
        validate::print(&read.findings, false)?;
        bail!("the manifests are refused");
    }
    let settings = Settings {
        namespace: None,
        operator_namespace: args.operator_namespace.clone(),
        image_registry: args.image_registry.clone(),
    };
    let mut out = std::io::stdout().lock();
    for archive in read.objects.iter().filter(|object| object.kind == Kind::ArchiveCore) {
        let near =
            |kind| read.objects.iter().filter(move |o| o.kind == kind && o.namespace == archive.namespace);
        let sets = near(Kind::NetworkPolicySet)
            .map(Object::typed::<NetworkPolicySet>)
            .collect::<Result<Vec<_>, _>>()?;
        let agents = near(Kind::EdgeAgent).map(Object::typed::<EdgeAgent>).collect::<Result<Vec<_>, _>>()?;
        let objects = render(&archive.typed::<ArchiveCore>()?, &sets, &agents, &settings)
            .with_context(|| format!("ArchiveCore {}", archive.name))?;
        for object in objects {
            write!(out, "---\n{}", serde_saphyr::to_string(&object).context("cannot write YAML")?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
