//! `config`: the configurations that were applied, from their ControllerRevisions, held against the ledger where its
//! leaves are at hand. The cluster's users have no certificate of the archive, so the leaves come as a file: an export's
//! `leaves.jsonl`.

mod verify;

use anyhow::{Context, bail};
use openarchive_operator_api::Kind;
use openarchive_operator_snapshot::{
    Chain, ConfigLog, HistoryRow, LogLeaf, Revisions, Snapshot, Subject, diff, history,
};
use std::{fs, path::PathBuf, process::ExitCode};

use crate::{cluster, text};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the configurations of an object, oldest first
    History(Of),
    /// Show what differs between two of them
    Diff {
        #[command(flatten)]
        of: Of,
        /// Numbers as in the history
        from: u32,
        to: u32,
    },
    /// Check that none is missing, replaced or forged; exit code 3 if one is
    Verify(verify::Args),
}

#[derive(clap::Args)]
pub(crate) struct Of {
    name: String,
    #[arg(long, default_value = "ArchiveCore", value_parser = kind_of)]
    kind: Kind,
    /// Leaves of the config log, one in a line, from leaf 0 on
    #[arg(long)]
    leaves: Option<PathBuf>,
    #[arg(long)]
    json: bool,
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
                println!("{}", serde_json::to_string_pretty(&found)?);
            } else {
                print!("{found}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify(args) => verify::run(cluster, args).await,
    }
}

impl Of {
    fn subject(&self, namespace: &str) -> anyhow::Result<Subject> {
        Subject::new(self.kind.name(), namespace, &self.name).context("no object has such a name")
    }

    fn log(&self) -> anyhow::Result<ConfigLog> {
        let Some(path) = &self.leaves else { return Ok(ConfigLog::default()) };
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let leaves: Vec<_> =
            (0..).zip(lines).map(|(index, line)| LogLeaf { index, body: line.to_vec() }).collect();
        Ok(ConfigLog::read(&leaves))
    }

    fn held(&self, subject: &Subject, revisions: &Revisions) -> anyhow::Result<Chain> {
        Ok(Chain::verify(subject, revisions, &self.log()?))
    }

    async fn chain(&self, cluster: &cluster::Args) -> anyhow::Result<Chain> {
        let cluster = cluster.connect().await?;
        let subject = self.subject(&cluster.namespace)?;
        self.held(&subject, &cluster.revisions(&subject).await?)
    }
}

fn show(chain: &Chain, of: &Of) -> anyhow::Result<ExitCode> {
    let rows = history(chain);
    if of.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let names = ["NUMBER", "GENERATION", "SHA-256", "LEAF", "RECORDED", "MANAGER", "OPERATOR", "OBJECTS"];
        println!("{}", text::table(names, rows.iter().map(line)));
    }
    if of.leaves.is_none() {
        eprintln!("From ControllerRevisions alone: --leaves shows what the ledger has of them.");
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
