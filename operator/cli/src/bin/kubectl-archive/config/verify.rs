//! `config verify`: an export offline, or what cluster and archive have.

use anyhow::{Context, bail};
use openarchive_operator_api::{ArchiveCore, Kind};
use openarchive_operator_controller::core::History;
use openarchive_operator_snapshot::{Chain, ConfigLog, Export, Outcome, verify_export, verify_export_since};
use openarchive_verify::{EXIT_CONSISTENT_NOT_ANCHORED, EXIT_FAILED};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    Of,
    ledger::{self, Ledger},
};
use crate::{
    cluster::{self, Cluster},
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The object whose configurations are checked
    #[arg(required_unless_present = "export")]
    name: Option<String>,
    /// Its kind
    #[arg(long, default_value = "ArchiveCore", value_parser = super::kind_of)]
    kind: Kind,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: ledger::Source,
    /// Verify this export, without a cluster
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "archive", "leaves", "without_ledger"])]
    export: Option<PathBuf>,
    #[command(flatten)]
    vouchers: Vouchers,
}

/// What says whose a history is, and that it goes on from what was seen before.
#[derive(clap::Args)]
pub(crate) struct Vouchers {
    /// Whose signatures count: a C2SP tlog-policy (config policy). Without it nothing says whose the history is
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A checkpoint of the same log that was kept before: the history must go on from it
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

/// [`Vouchers`], read.
pub(crate) struct Vouched {
    policy: Option<String>,
    since: Option<String>,
}

impl Vouchers {
    pub(crate) fn read(&self) -> anyhow::Result<Vouched> {
        let text = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
        let policy = self.policy.as_deref().map(text).transpose()?;
        Ok(Vouched { policy, since: self.since.as_deref().map(text).transpose()? })
    }
}

impl Vouched {
    const fn is_any(&self) -> bool {
        self.policy.is_some() || self.since.is_some()
    }

    pub(crate) fn verify(&self, export: impl Read) -> Outcome {
        match &self.since {
            None => verify_export(export, self.policy.as_deref()),
            Some(earlier) => verify_export_since(export, self.policy.as_deref(), earlier),
        }
    }
}

pub(crate) async fn run(cluster: &cluster::Args, args: &Args) -> anyhow::Result<ExitCode> {
    let vouched = args.vouchers.read()?;
    if let Some(export) = &args.export {
        return offline(export, &vouched, args.json);
    }
    let Some(name) = args.name.clone() else { bail!("name an object, or an export") };
    let of = Of { name, kind: args.kind, json: args.json, ledger: args.ledger.clone() };
    let cluster = cluster.connect().await?;
    let subject = of.subject(&cluster.namespace)?;
    let ledger = of.ledger.whole(&cluster, &of).await;
    let ledger =
        ledger.context("the ledger was not read (--without-ledger looks at ControllerRevisions alone)")?;
    // After the ledger: what is recorded in the meantime was kept before.
    let revisions = cluster.revisions(&subject).await?;
    let unread = ConfigLog::default();
    let (log, archive) = match &ledger {
        Ledger::NotAsked | Ledger::File(_) if vouched.is_any() => {
            bail!(
                "--policy and --since are about what the archive has signed: do not give --leaves or --without-ledger"
            )
        }
        Ledger::NotAsked => (&unread, None),
        Ledger::File(log) => (log, None),
        Ledger::Archive(history) => (&history.log, Some(of_archive(history, &vouched)?)),
    };
    let chain = Chain::verify(&subject, &revisions, log);
    let unkept = if of.kind == Kind::ArchiveCore { unkept(&cluster, &chain).await? } else { None };
    let is_read = !matches!(ledger, Ledger::NotAsked);
    if is_unknown(&chain) && unkept.is_none() {
        bail!(
            "nothing is on record of {subject}: see its name and namespace; the configurations of archives are recorded, with all \
             that belongs to them, and those of no other kind"
        );
    }
    let report = Report { chain, unkept, archive, is_read };
    text::say(&if of.json { serde_json::to_string_pretty(&report.to_json())? } else { report.to_text() })?;
    Ok(ExitCode::from(report.exit_code()))
}

fn offline(export: &Path, vouched: &Vouched, json: bool) -> anyhow::Result<ExitCode> {
    let file = BufReader::new(File::open(export).with_context(|| export.display().to_string())?);
    let outcome = vouched.verify(file);
    if json {
        text::say_json(&outcome.to_json())?;
    } else {
        text::say(&outcome.to_string())?;
    }
    Ok(ExitCode::from(outcome.exit_code()))
}

/// What an export made now would be found to be.
fn of_archive(history: &History, vouched: &Vouched) -> anyhow::Result<Outcome> {
    let mut bytes = Vec::new();
    let export = Export {
        checkpoint_note: &history.checkpoint_note,
        leaves: &history.leaves,
        snapshots: &history.snapshots,
    };
    export.write(&mut bytes).context("the archive's history cannot be checked")?;
    Ok(vouched.verify(bytes.as_slice()))
}

/// The snapshot that the archive's status calls recorded, if the cluster has it no more. This finds a last revision that
/// was deleted, which the others do not show.
async fn unkept(cluster: &Cluster, chain: &Chain) -> anyhow::Result<Option<String>> {
    let archive = cluster.api::<ArchiveCore>().get_opt(chain.subject.name()).await;
    let last =
        archive.context("cannot read the ArchiveCore")?.and_then(|archive| archive.status?.last_snapshot);
    let recorded = chain.recorded.iter().filter_map(|link| link.snapshot.as_ref());
    let mut kept = recorded.chain(chain.pending.iter().map(|revision| &revision.snapshot));
    Ok(last.map(|last| last.sha256).filter(|sha256| !kept.any(|snapshot| snapshot.digest().hex() == *sha256)))
}

/// Whether nothing was found that could be checked.
fn is_unknown(chain: &Chain) -> bool {
    chain.recorded.is_empty() && chain.pending.is_empty() && chain.findings.is_empty()
}

struct Report {
    chain: Chain,
    /// Digest of a snapshot that status names and the cluster has no more.
    unkept: Option<String>,
    /// Whether what the archive itself gave agrees with itself.
    archive: Option<Outcome>,
    is_read: bool,
}

impl Report {
    fn is_good(&self) -> bool {
        let archive = self.archive.as_ref().is_none_or(|outcome| outcome.findings().is_empty());
        self.chain.findings.is_empty() && self.unkept.is_none() && archive
    }

    fn exit_code(&self) -> u8 {
        match &self.archive {
            _ if !self.is_good() => EXIT_FAILED,
            Some(outcome) => outcome.exit_code(),
            None => EXIT_CONSISTENT_NOT_ANCHORED,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "object": self.chain.subject.to_string(),
            "exit_code": self.exit_code(),
            "findings": self.chain.findings,
            "lastSnapshotOfStatusGone": self.unkept,
            "recorded": self.chain.recorded.len(),
            "pending": self.chain.pending.len(),
            "ledgerRead": self.is_read,
            "archive": self.archive.as_ref().map(Outcome::to_json),
        })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for finding in &self.chain.findings {
            text += &format!("{}\n  {}\n", text::harmless(&finding.to_string()), finding.remedy());
        }
        if let Some(sha256) = &self.unkept {
            let sha256 = text::harmless(sha256);
            text += &format!(
                "status names {sha256} as the last recorded snapshot, and no ControllerRevision holds it\n"
            );
        }
        let (recorded, pending) = (self.chain.recorded.len(), self.chain.pending.len());
        let verdict = if self.is_good() { "nothing is wrong" } else { "see above" };
        if let Some(outcome) = &self.archive {
            text += &format!("the archive's ledger: {outcome}");
        }
        if self.is_read {
            text += &format!("{recorded} configurations on the ledger, {pending} not yet: {verdict}");
        } else {
            text += &format!(
                "{pending} configurations in the cluster, held against each other and against status: {verdict}. They are \
                 not held against the ledger: a history that was replaced as a whole looks good here."
            );
        }
        text
    }
}
