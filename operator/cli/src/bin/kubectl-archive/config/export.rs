//! `config export`: leaves, checkpoint, proofs and bodies in one file.

use anyhow::Context;
use openarchive_operator_snapshot::Export;
use openarchive_verify::EXIT_FAILED;
use serde_json::json;
use std::{
    io::{BufReader, BufWriter},
    path::PathBuf,
    process::ExitCode,
};

use super::{ledger::read_whole, verify::Vouchers};
use crate::{cluster, files::NewFile, text};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ArchiveCore; the file holds the configurations of every object that its ledger records
    name: String,
    /// File to write (.tar), which must not be there yet
    #[arg(long, short)]
    out: PathBuf,
    #[command(flatten)]
    vouchers: Vouchers,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(cluster: &cluster::Args, args: &Args) -> anyhow::Result<ExitCode> {
    let vouchers = args.vouchers.read()?;
    let mut file = NewFile::create(&args.out)?;
    let way = cluster.connect().await?.reach(&args.name).await?;
    let history = read_whole(&way).await?;
    let export = Export {
        checkpoint_note: &history.checkpoint_note,
        leaves: &history.leaves,
        snapshots: &history.snapshots,
    };
    export.write(BufWriter::new(file.out())).context("cannot write the export")?;
    // As whoever gets it will look at it.
    let outcome = vouchers.verify(BufReader::new(file.read()?));
    let bytes = file.keep()?;
    if args.json {
        let file = args.out.display().to_string();
        text::say_json(&json!({"file": file, "bytes": bytes, "verification": outcome.to_json()}))?;
    } else {
        text::say(&format!("{}: {bytes} bytes\n{outcome}", args.out.display()))?;
    }
    // That nobody vouched for it is no failure of writing it.
    Ok(if outcome.exit_code() == EXIT_FAILED { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}
