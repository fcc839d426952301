//! `kubectl archive`: what a person asks of archives in a cluster, with the rights that kubectl has.

mod cluster;
mod config;
mod status;
mod text;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Archives in a cluster: their state, and the history of their configuration
///
/// Exit codes: 0 success, 1 error, 2 usage, 3 damage found, 4 an export that agrees with itself and that nobody signed.
#[derive(Parser)]
#[command(name = "kubectl-archive", bin_name = "kubectl archive", version)]
struct Cli {
    #[command(flatten)]
    cluster: cluster::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show archives, agents, retention and network policies, and what each waits for
    Status(status::Args),
    /// Show, compare and verify the configurations that were applied
    #[command(subcommand)]
    Config(config::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match cli.command {
                Command::Status(args) => status::run(&cli.cluster, &args).await,
                Command::Config(command) => config::run(&cli.cluster, &command).await,
            }
        })
    });
    done.unwrap_or_else(|error| {
        eprintln!("kubectl archive: {error:#}");
        ExitCode::FAILURE
    })
}
