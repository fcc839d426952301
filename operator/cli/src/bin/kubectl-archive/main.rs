//! `kubectl archive`: what a person asks of archives in a cluster, with the rights that kubectl has.

mod cluster;
mod config;
mod files;
mod forward;
mod netpol;
mod reach;
mod status;
mod support_bundle;
mod text;

use anyhow::bail;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Archives in a cluster: their state, who may reach whom, and the history of their configuration
#[derive(Parser)]
#[command(name = "kubectl-archive", bin_name = "kubectl archive", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    cluster: cluster::Args,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked; what was verified holds; the connection is allowed
  1  any other error
  2  the command line is not understood
  3  verification failed: each broken thing is named
  4  everything agrees, and nothing says whose it is: no policy was given, or the ledger was not read
  5  the connection is refused (netpol explain)";

#[derive(Subcommand)]
enum Command {
    /// Show archives, agents, retention and network policies, and what each waits for
    Status(status::Args),
    /// Ask the network policies of an archive
    #[command(subcommand)]
    Netpol(netpol::Command),
    /// Show, compare, verify and export the configurations that were applied
    #[command(subcommand)]
    Config(config::Command),
    /// Write what somebody needs who is to help: states and events, no Secrets, no mail addresses
    SupportBundle(support_bundle::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                done = run(&cli) => done,
                // What was begun is dropped, and with it the folder of the operator's key.
                stopped = stopped() => stopped,
            }
        })
    });
    done.unwrap_or_else(|error| {
        text::remark(&format!("kubectl archive: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Status(args) => status::run(&cli.cluster, args).await,
        Command::Netpol(command) => netpol::run(&cli.cluster, command).await,
        Command::Config(command) => config::run(&cli.cluster, command).await,
        Command::SupportBundle(args) => support_bundle::run(&cli.cluster, args).await,
    }
}

async fn stopped() -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("stopped before it was done")
}
