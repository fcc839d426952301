//! `openarchive-operator`: one file for each subcommand.

mod crd;
mod docs;
mod rbac;
mod render;
mod run;
mod validate;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The operator of OpenArchive, and what a pipeline needs of it without a cluster.
#[derive(Parser)]
#[command(name = "openarchive-operator", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked; every manifest is accepted
  1  a manifest is refused (validate)
  2  it could not be done, or the command line is not understood";

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML
    Crd(crd::Args),
    /// Print the reference of the kinds as Markdown
    Docs(docs::Args),
    /// Print the operator's rights, each with its reason
    Rbac(rbac::Args),
    /// Print every object that manifests would lead to
    Render(render::Args),
    /// Run the operator
    Run(run::Args),
    /// Check manifests as the API server would, and against each other
    Validate(validate::Args),
}

/// Exit status when it could not be done; 1 is a refused manifest.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Crd(args) => crd::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Rbac(args) => rbac::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Validate(args) => validate::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("openarchive-operator: {error:#}");
        ExitCode::from(FAILED)
    })
}
