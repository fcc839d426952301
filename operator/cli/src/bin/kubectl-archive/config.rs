//! `config`: the configurations that were applied, from their ControllerRevisions, held against the archive's ledger.

mod export;
mod ledger;
mod policy;
mod verify;

use anyhow::{Context, bail};
use openarchive_operator_api::Kind;
use openarchive_operator_snapshot::{Chain, HistoryRow, Snapshot, Subject, diff, history};
use std::process::ExitCode;

use crate::{cluster, text};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the configurations of an object, oldest first
    History(Of),
    /// Show what differs between two of them
    Diff {
        #[command(flatten)]
        of: Of,
        /// Number of the one, as in the history
        from: u32,
        /// Number of the other
        to: u32,
    },
    /// Check that none is missing, replaced or forged
    ///
    /// Exit code 0: nothing is wrong, and the policy vouches for it; 3: something is wrong; 4: nothing is wrong, but no policy was
    /// given or the ledger was not read.
    Verify(verify::Args),
    /// Write the whole history of an archive into a file that anybody can verify without a cluster
    ///
    /// Exit code 0: the file is written and agrees with itself; 3: it is written, and something is wrong with the history.
    Export(export::Args),
    /// Print the key of the archive's config log, as a policy for verify: keep it, and give it by another way than exports
    Policy(policy::Args),
}

#[derive(clap::Args, Clone)]
pub(crate) struct Of {
    /// The object whose configurations they are
    name: String,
    /// Its kind
    #[arg(long, default_value = "ArchiveCore", value_parser = kind_of)]
    kind: Kind,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: ledger::Source,
}

fn kind_of(name: &str) -> Result<Kind, String> {
    Kind::of_name(name).ok_or_else(|| format!("there are {}", Kind::ALL.map(Kind::name).join(", ")))
}

pub(crate) async fn run(cluster: &cluster::Args, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::History(of) => show(&of.chain(cluster).await?, of),
        Command::Diff { of, from, to } => {
            let chain = of.chain(cluster).await?;
            let (from, to) = (snapshot(&chain, *from)?, snapshot(&chain, *to)?);
            let found = diff(from, to);
            if of.json {
                text::say_json(&found)?;
            } else {
                text::say(&found.to_string())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify(args) => verify::run(cluster, args).await,
        Command::Export(args) => export::run(cluster, args).await,
        Command::Policy(args) => policy::run(cluster, args).await,
    }
}

impl Of {
    fn subject(&self, namespace: &str) -> anyhow::Result<Subject> {
        Subject::new(self.kind.name(), namespace, &self.name).context("no object has such a name")
    }

    /// Held against the ledger if that can be read; if not, a remark says why.
    async fn chain(&self, cluster: &cluster::Args) -> anyhow::Result<Chain> {
        let cluster = cluster.connect().await?;
        let subject = self.subject(&cluster.namespace)?;
        let revisions = cluster.revisions(&subject).await?;
        let log = match self.ledger.log(&cluster, self).await {
            Ok(log) => log,
            Err(error) => {
                text::remark(&format!("The ledger was not read: {error:#}"));
                None
            }
        };
        if log.is_none() {
            text::remark("From ControllerRevisions alone: leaves and the times of recording are not known.");
        }
        Ok(Chain::verify(&subject, &revisions, &log.unwrap_or_default()))
    }
}

fn show(chain: &Chain, of: &Of) -> anyhow::Result<ExitCode> {
    let rows = history(chain);
    if of.json {
        text::say_json(&rows)?;
    } else {
        let names = ["NUMBER", "GENERATION", "SHA-256", "LEAF", "RECORDED", "MANAGER", "OPERATOR", "OBJECTS"];
        text::say(&text::table(names, rows.iter().map(line)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(row: &HistoryRow) -> [String; 8] {
    let content = row.content.as_ref();
    let of_content = |text: fn(&openarchive_operator_snapshot::HistoryContent) -> String| {
        content.map_or_else(|| "gone".to_owned(), text)
    };
    let mut sha256 = row.sha256.hex();
    sha256.truncate(12);
    [
        row.ordinal.to_string(),
        row.generation.to_string(),
        sha256,
        row.ledger_index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
        row.recorded_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        of_content(|content| content.client_declared_manager.clone()),
        of_content(|content| content.operator_version.clone()),
        of_content(|content| content.objects.to_string()),
    ]
}

fn snapshot(chain: &Chain, ordinal: u32) -> anyhow::Result<&Snapshot> {
    let recorded = chain.recorded.iter().filter(|link| link.ordinal == ordinal);
    let pending = chain.pending.iter().filter(|revision| revision.ordinal == ordinal);
    let found =
        recorded.filter_map(|link| link.snapshot.as_ref()).chain(pending.map(|one| &one.snapshot)).next();
    match found {
        Some(snapshot) => Ok(snapshot),
        None => bail!("the cluster has no configuration {ordinal} of {}: see its history", chain.subject),
    }
}
