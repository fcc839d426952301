//! `netpol`: what the network policies of an archive allow, and why.

use anyhow::{Context, bail};
use clap::ValueEnum;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, Kind, NetworkPolicySet, PolicyMode};
use openarchive_operator_cli::manifests::{Object, read_files};
use openarchive_operator_controller::{Connection, Explained, Settings, explain};
use openarchive_operator_netpol::{Port, Subject};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};

use crate::{
    cluster::{self, no_archive},
    text,
};

/// Exit status of a connection that is refused.
const REFUSED: u8 = 5;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Tell whether a connection is allowed, by which edge of the service graph, and which rule carries it
    ///
    /// The answer is that of the policies which the operator makes of what is specified; what others have applied is not looked at.
    /// Exit code 0: allowed; 5: refused.
    Explain(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who connects: a role (gateway), agent/NAME, migrate, prober, operator, monitoring, or an IP address
    #[arg(value_name = "SRC", value_parser = subject)]
    from: Subject,
    /// To whom: the same, or database, object-store, search-engine, dns
    #[arg(value_name = "DST", value_parser = subject)]
    to: Subject,
    /// Port of the destination: 9443, or 53/udp
    port: Port,
    /// The ArchiveCore; not needed where there is only one
    #[arg(long)]
    archive: Option<String>,
    /// Manifests instead of a cluster; - is the standard input
    #[arg(long = "file", short, value_name = "FILES", num_args = 1..)]
    files: Vec<PathBuf>,
    /// Lines for people, or JSON
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    /// Where the operator runs: its pods may reach the archive's
    #[arg(long, default_value = "openarchive-system")]
    operator_namespace: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn subject(text: &str) -> Result<Subject, String> {
    Ok(Subject::from(text))
}

/// What is specified around one archive.
struct Site {
    archive: ArchiveCore,
    sets: Vec<NetworkPolicySet>,
    agents: Vec<EdgeAgent>,
    database_url: Option<String>,
}

pub(crate) async fn run(cluster: &cluster::Args, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Explain(args) = command;
    let site = if args.files.is_empty() {
        of_cluster(cluster, args.archive.as_deref()).await?
    } else {
        of_files(args, cluster.namespace.as_deref())?
    };
    let settings = Settings {
        namespace: None,
        operator_namespace: args.operator_namespace.clone(),
        image_registry: String::new(),
    };
    let asked = Connection { from: args.from.clone(), to: args.to.clone(), port: args.port };
    let Site { archive, sets, agents, database_url } = &site;
    let explained = explain(archive, sets, agents, database_url.as_deref(), &settings, &asked)?;
    show(&explained, args.output)?;
    Ok(if explained.explanation.allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn show(explained: &Explained, output: Output) -> anyhow::Result<()> {
    let Explained { explanation, mode } = explained;
    match output {
        Output::Json => {
            let mut answer = serde_json::to_value(explanation)?;
            answer["mode"] = json!(mode);
            text::say_json(&answer)
        }
        Output::Table => {
            let lines: Vec<_> = explanation.to_string().lines().map(text::harmless).collect();
            text::say(&lines.join("\n"))?;
            if *mode == PolicyMode::Audit {
                text::remark("The NetworkPolicySet is in mode Audit: nobody applies these policies.");
            }
            Ok(())
        }
    }
}

async fn of_cluster(cluster: &cluster::Args, name: Option<&str>) -> anyhow::Result<Site> {
    let cluster = cluster.connect().await?;
    let archive = match name {
        Some(name) => cluster.archive(name).await?,
        None => {
            only_one(cluster.list::<ArchiveCore>("").await?, &format!("namespace {}", cluster.namespace))?
        }
    };
    let database_url = match &archive.spec.database {
        // Its address ranges say enough.
        Some(database) if database.cidrs.is_empty() => {
            let name = &database.admin_secret_ref.name;
            let secret = cluster.api::<Secret>().get_opt(name).await;
            let secret = secret.with_context(|| {
                format!("cannot read Secret {name}, which names the database's host: let somebody ask who may, or write \
                     spec.database.cidrs")
            })?;
            let url = secret.and_then(|secret| secret.data?.remove("url"));
            url.and_then(|url| String::from_utf8(url.0).ok())
        }
        _ => None,
    };
    Ok(Site { archive, sets: cluster.list("").await?, agents: cluster.list("").await?, database_url })
}

fn of_files(args: &Args, namespace: Option<&str>) -> anyhow::Result<Site> {
    let read = read_files(&args.files)?;
    if let Some(finding) = read.findings.first() {
        let more = read.findings.len() - 1;
        bail!(
            "the manifests are refused: {} (and {more} more; see openarchive-operator validate)",
            finding.line()
        );
    }
    let is_in = |object: &&Object| {
        namespace.is_none_or(|wanted| object.namespace == wanted || object.namespace.is_empty())
    };
    let objects: Vec<_> = read.objects.iter().filter(is_in).collect();
    let archives: Vec<&Object> =
        objects.iter().copied().filter(|object| object.kind == Kind::ArchiveCore).collect();
    let wanted = |object: &&&Object| args.archive.as_deref().is_none_or(|name| object.name == name);
    let found: Vec<&Object> = archives.iter().filter(wanted).copied().collect();
    if let (Some(name), true) = (&args.archive, found.is_empty()) {
        bail!("{}", no_archive(name, "these files", &names(&archives)));
    }
    let near = |kind: Kind, archive: &Object| {
        let near =
            objects.iter().filter(|object| object.kind == kind && object.namespace == archive.namespace);
        near.copied().collect::<Vec<_>>()
    };
    let [archive] = found.as_slice() else {
        bail!("{}", choose(&names(&found), "these files"));
    };
    Ok(Site {
        archive: archive.typed()?,
        sets: near(Kind::NetworkPolicySet, archive)
            .iter()
            .map(|set| set.typed())
            .collect::<Result<_, _>>()?,
        agents: near(Kind::EdgeAgent, archive).iter().map(|agent| agent.typed()).collect::<Result<_, _>>()?,
        database_url: None,
    })
}

fn names(archives: &[&Object]) -> Vec<String> {
    archives.iter().map(|archive| format!("{} (namespace {:?})", archive.name, archive.namespace)).collect()
}

fn only_one(archives: Vec<ArchiveCore>, place: &str) -> anyhow::Result<ArchiveCore> {
    match <[_; 1]>::try_from(archives) {
        Ok([archive]) => Ok(archive),
        Err(archives) => {
            let names: Vec<_> = archives.iter().map(ResourceExt::name_any).collect();
            bail!("{}", choose(&names, place))
        }
    }
}

fn choose(names: &[String], place: &str) -> String {
    if names.is_empty() {
        return format!("there is no ArchiveCore in {place}");
    }
    format!("{place} has several ArchiveCores, choose with --archive and --namespace: {}", names.join(", "))
}
