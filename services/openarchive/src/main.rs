//! `openarchive`: the archive's roles, and what an operator does to a data folder.

mod agent_add;
mod archive_file;
mod authority;
mod core;
mod dev;
mod endpoints;
mod findings;
mod fsck;
mod layout;
mod listeners;
mod rebuild;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use openarchive_domain::{AgentRef, Tenant};

/// An archive for e-mail that anyone can check with other people's tools.
///
/// Exit codes: 0 success, 1 error, 2 usage, 3 damage found.
#[derive(Parser)]
#[command(name = "openarchive", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything on this machine: every role, an agent with SMTP, and a private PostgreSQL in the data folder.
    Dev {
        #[command(flatten)]
        core: CoreArguments,
        /// Where the agent listens for mail.
        #[arg(long, default_value = "127.0.0.1:2525")]
        smtp: SocketAddr,
    },
    /// Every role in one process, with a private PostgreSQL; agents connect over mTLS.
    All {
        #[command(flatten)]
        core: CoreArguments,
    },
    /// Agents and their certificates.
    Agent {
        #[command(subcommand)]
        command: AgentCommand,
    },
    /// Fills an empty database from packs, key files, tiles and keys. Can be interrupted and repeated.
    Rebuild {
        #[arg(long)]
        data: PathBuf,
    },
    /// Reads the whole archive and names every damage. Exit 0: clean; 3: damage.
    Fsck {
        #[arg(long)]
        data: PathBuf,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Writes certificate, key, CA and log policy for an agent, and a configuration to start from.
    Add {
        /// TENANT/NAME, both DNS labels.
        agent: AgentRef,
        #[arg(long)]
        data: PathBuf,
        /// Folder to make.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args, Clone)]
struct CoreArguments {
    /// The archive's data folder; made at first start.
    #[arg(long)]
    data: PathBuf,
    /// Where agents connect (gRPC over mTLS).
    #[arg(long, default_value = "127.0.0.1:9443")]
    ingest: SocketAddr,
    /// Where people and programs connect (REST over TLS).
    #[arg(long, default_value = "127.0.0.1:8443")]
    gateway: SocketAddr,
    /// Domain of the archive, in log origins and certificates. Set at first start, never changed.
    #[arg(long)]
    domain: Option<String>,
    /// Tenants. Set at first start.
    #[arg(long = "tenant")]
    tenants: Vec<Tenant>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("OPENARCHIVE_LOG")
                .unwrap_or_else(|_| "info,sqlx=warn,tantivy=warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    // Fails only if a provider is installed already, and nothing ran before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match cli.command {
        Command::Dev { core, smtp } => dev::run(&core, Some(smtp)).await.map(|()| ExitCode::SUCCESS),
        Command::All { core } => dev::run(&core, None).await.map(|()| ExitCode::SUCCESS),
        Command::Agent { command: AgentCommand::Add { agent, data, out } } => {
            agent_add::run(&agent, &data, &out).map(|()| ExitCode::SUCCESS)
        }
        Command::Rebuild { data } => rebuild::run(&data).await.map(|()| ExitCode::SUCCESS),
        Command::Fsck { data, json } => fsck::run(&data, json).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("openarchive: {error:#}");
        ExitCode::from(1)
    })
}
