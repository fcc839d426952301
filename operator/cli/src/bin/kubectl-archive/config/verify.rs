//! `config verify`: an export offline, or what the cluster has.

use anyhow::{Context, bail};
use kube::Api;
use openarchive_operator_api::{ArchiveCore, Kind};
use openarchive_operator_snapshot::{Chain, Outcome, verify_export, verify_export_since};
use openarchive_verify::EXIT_FAILED;
use serde_json::json;
use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::Of;
use crate::cluster::{self, Cluster};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: OptionalOf,
    /// Verify this export, without a cluster
    #[arg(long, conflicts_with_all = ["name", "leaves"])]
    export: Option<PathBuf>,
    /// Whose signatures count: a tlog-policy. Without it nothing says who made the export
    #[arg(long, requires = "export")]
    policy: Option<PathBuf>,
    /// A checkpoint of the same log that was kept before
    #[arg(long, requires = "export")]
    since: Option<PathBuf>,
}

/// As [`Of`], for when it is not asked about an object.
#[derive(clap::Args)]
struct OptionalOf {
    #[arg(required_unless_present = "export")]
    name: Option<String>,
    #[arg(long, default_value = "ArchiveCore", value_parser = super::kind_of)]
    kind: Kind,
    /// Leaves of the config log, one in a line, from leaf 0 on
    #[arg(long)]
    leaves: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(cluster: &cluster::Args, args: &Args) -> anyhow::Result<ExitCode> {
    let OptionalOf { name, kind, leaves, json } = &args.of;
    if let Some(export) = &args.export {
        return offline(export, args.policy.as_deref(), args.since.as_deref(), *json);
    }
    let Some(name) = name.clone() else { bail!("name an object, or an export") };
    let of = Of { name, kind: *kind, leaves: leaves.clone(), json: *json };
    let cluster = cluster.connect().await?;
    let subject = of.subject(&cluster.namespace)?;
    let chain = of.held(&subject, &cluster.revisions(&subject).await?)?;
    let unkept = if *kind == Kind::ArchiveCore { unkept(&cluster, &chain).await? } else { None };
    report(&chain, unkept.as_deref(), &of)
}

fn offline(
    export: &Path,
    policy: Option<&Path>,
    since: Option<&Path>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let text = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let policy = policy.map(text).transpose()?;
    let since = since.map(text).transpose()?;
    let file = BufReader::new(File::open(export).with_context(|| export.display().to_string())?);
    let outcome: Outcome = match since {
        None => verify_export(file, policy.as_deref()),
        Some(earlier) => verify_export_since(file, policy.as_deref(), &earlier),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&outcome.to_json())?);
    } else {
        print!("{outcome}");
    }
    Ok(ExitCode::from(outcome.exit_code()))
}

/// The snapshot that the archive's status calls recorded, if the cluster has it no more. This finds a last revision that
/// was deleted, which the others do not show.
async fn unkept(cluster: &Cluster, chain: &Chain) -> anyhow::Result<Option<String>> {
    let api: Api<ArchiveCore> = Api::namespaced(cluster.client.clone(), chain.subject.namespace());
    let archive = api.get_opt(chain.subject.name()).await.context("cannot read the ArchiveCore")?;
    let last = archive.and_then(|archive| archive.status?.last_snapshot);
    let recorded = chain.recorded.iter().filter_map(|link| link.snapshot.as_ref());
    let mut kept = recorded.chain(chain.pending.iter().map(|revision| &revision.snapshot));
    Ok(last.map(|last| last.sha256).filter(|sha256| !kept.any(|snapshot| snapshot.digest().hex() == *sha256)))
}

fn report(chain: &Chain, unkept: Option<&str>, of: &Of) -> anyhow::Result<ExitCode> {
    let good = chain.findings.is_empty() && unkept.is_none();
    let (recorded, pending) = (chain.recorded.len(), chain.pending.len());
    if of.json {
        let report = json!({
            "object": chain.subject.to_string(),
            "findings": chain.findings,
            "lastSnapshotOfStatusGone": unkept,
            "recorded": recorded,
            "pending": pending,
            "ledgerRead": of.leaves.is_some(),
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &chain.findings {
            println!("{finding}\n  {}", finding.remedy());
        }
        if let Some(sha256) = unkept {
            println!(
                "status names {sha256} as the last recorded snapshot, and no ControllerRevision holds it"
            );
        }
        let verdict = if good { "nothing is wrong" } else { "see above" };
        if of.leaves.is_some() {
            println!("{recorded} configurations on the ledger, {pending} not yet: {verdict}");
        } else {
            println!(
                "{pending} configurations in the cluster, held against each other and against status: {verdict}. They \
                 are not held against the ledger: a history that was replaced as a whole looks good here. For that \
                 give --leaves, or verify an --export."
            );
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}
