//! `validate`: what the API server would refuse, with file and line, and what no single object shows.

use openarchive_operator_cli::manifests::{Finding, Manifests, read_files};
use std::{io::Write, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// YAML or JSON, of several documents; - is the standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print a JSON array instead of lines
    #[arg(long)]
    json: bool,
}

/// Exit status when something is refused.
const REFUSED: u8 = 1;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Manifests { objects, findings, ignored } = read_files(&args.files)?;
    print(&findings, args.json)?;
    let (checked, problems) = (objects.len(), findings.len());
    eprintln!("{checked} objects checked, {problems} problems, {ignored} documents of other groups ignored");
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

pub(crate) fn print(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, findings)?;
        writeln!(out)?;
    } else {
        for finding in findings {
            writeln!(out, "{}", finding.line())?;
        }
    }
    Ok(())
}
