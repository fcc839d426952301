//! `openarchive`: the archive's roles, and what an operator does to a data folder.

mod agent_add;
mod all;
mod archive_file;
mod authority;
mod config;
mod core;
mod database;
mod dev;
mod doctor;
mod endpoints;
mod findings;
mod fsck;
mod health;
mod layout;
mod listeners;
mod migrate;
mod prober;
mod probes;
mod rebuild;
mod roles;
mod support_bundle;
mod token;
mod trust_policy;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use doctor::Part;
use openarchive_domain::{AgentRef, Tenant};
use openarchive_telemetry::TelemetryConfig;
use openarchive_topology::Role;
use support_bundle::About;

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
        /// The archive's data folder; made at first start.
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        core: CoreArguments,
        /// Where the agent listens for mail.
        #[arg(long, default_value = "127.0.0.1:2525")]
        smtp: SocketAddr,
    },
    /// Every role in one process, with a private PostgreSQL; agents connect over mTLS.
    All {
        /// The archive's data folder; made at first start. With it the archive makes its own certificates.
        #[arg(long, required_unless_present = "config")]
        data: Option<PathBuf>,
        /// A configuration file (docs/configuration.md) instead of everything else here: certificates are issued elsewhere.
        #[arg(
            long,
            value_name = "FILE",
            conflicts_with_all = ["data", "ingest", "gateway", "admin", "domain", "tenants", "checkpoint_seconds"]
        )]
        config: Option<PathBuf>,
        #[command(flatten)]
        core: CoreArguments,
    },
    /// Takes mail from agents.
    Ingest(RoleArguments),
    /// Keeps encrypted blobs in locked packs.
    Storage(RoleArguments),
    /// Full text.
    Index(RoleArguments),
    /// The ledger and the keys.
    Trust(RoleArguments),
    /// REST for people and programs.
    Gateway(RoleArguments),
    /// Durable jobs: the index feed.
    Worker(RoleArguments),
    /// Tries whether the network between two of its kind enforces policies, and says so at /verdict.
    Prober(RoleArguments),
    /// Brings the database to this version, makes its login roles, and gives them passwords.
    Migrate(RoleArguments),
    /// Looks at everything that a role, or `all --config`, will need, and says what to do. Exit 1: something is bad.
    Doctor {
        /// ingest, storage, index, trust, gateway or worker; or all.
        #[arg(value_parser = parse_part)]
        part: Part,
        #[command(flatten)]
        arguments: RoleArguments,
        /// One JSON array instead of text.
        #[arg(long)]
        json: bool,
    },
    /// API tokens, with the database credentials of `openarchive migrate`, or beside a running `openarchive all`.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Prints the C2SP log policy that a tenant's agents and verifiers trust. Reads the keys of trust, or of `all`.
    TrustPolicy {
        #[command(flatten)]
        arguments: RoleArguments,
        #[arg(long)]
        tenant: Tenant,
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
    /// Packs versions, settings, findings and figures for somebody who helps: no mail, no key, no password, no token.
    SupportBundle {
        #[command(flatten)]
        about: BundleAbout,
        /// A log file; only the program's own lines at its end are taken. May be given several times.
        #[arg(long = "log", value_name = "FILE")]
        logs: Vec<PathBuf>,
        /// The .tar.gz to make.
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
}

/// A data folder, or one role and its configuration.
#[derive(Args)]
struct BundleAbout {
    /// The data folder of `openarchive dev` or `all`, running or not.
    #[arg(long, conflicts_with_all = ["role", "config"], required_unless_present = "role")]
    data: Option<PathBuf>,
    /// ingest, storage, index, trust, gateway or worker.
    #[arg(long, value_parser = parse_role, requires = "config")]
    role: Option<Role>,
    /// The role's configuration file.
    #[arg(long, value_name = "FILE", requires = "role")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Writes certificate, key, CA and log policy for an agent; docs/agent.md has a configuration to start from.
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

#[derive(Subcommand)]
enum TokenCommand {
    /// Makes a token and prints it: it cannot be had again.
    Issue {
        tenant: Tenant,
        #[command(flatten)]
        arguments: RoleArguments,
    },
    /// Every token of a tenant by its id, revoked ones too.
    List {
        tenant: Tenant,
        #[command(flatten)]
        arguments: RoleArguments,
    },
    /// Refuses a token from its next request on.
    Revoke {
        tenant: Tenant,
        /// As `token list` shows it.
        id: String,
        #[command(flatten)]
        arguments: RoleArguments,
    },
}

#[derive(Args, Clone)]
struct RoleArguments {
    /// The role's configuration file (docs/configuration.md). Environment variables OPENARCHIVE__SECTION__KEY lie over it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn parse_role(name: &str) -> Result<Role, String> {
    match Role::of_name(name) {
        None | Some(Role::Operator) => {
            Err("write ingest, storage, index, trust, gateway or worker".to_owned())
        }
        Some(role) => Ok(role),
    }
}

fn parse_part(name: &str) -> Result<Part, String> {
    match name {
        "all" => Ok(Part::All),
        role => parse_role(role).map(Part::Role).map_err(|error| format!("{error}, or all")),
    }
}

#[derive(Args, Clone)]
struct CoreArguments {
    /// Where agents connect (gRPC over mTLS).
    #[arg(long, default_value = "127.0.0.1:9443")]
    ingest: SocketAddr,
    /// Where people and programs connect (REST over TLS).
    #[arg(long, default_value = "127.0.0.1:8443")]
    gateway: SocketAddr,
    /// Where probes and metrics are answered over plain HTTP (/livez, /readyz, /metrics); nowhere if it is not given.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Domain of the archive, in log origins and certificates. Set at first start, never changed.
    #[arg(long)]
    domain: Option<String>,
    /// Tenants. Set at first start.
    #[arg(long = "tenant")]
    tenants: Vec<Tenant>,
    /// Least seconds between two checkpoints of a log, 1 to 30; agents and proofs wait for the next one.
    /// Default: `dev` 1; `all` 5, and 30 for what is not mail.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=CHECKPOINT_SECONDS_MAX))]
    checkpoint_seconds: Option<u64>,
}

/// Seconds between two checkpoints, at most: an audit log that has none for a minute stops reads.
const CHECKPOINT_SECONDS_MAX: u64 = 30;

impl Command {
    /// As logs and traces name the process.
    fn role(&self) -> &'static str {
        match self {
            Self::Dev { .. } => "dev",
            Self::All { .. } => "all",
            Self::Ingest(_) => "ingest",
            Self::Storage(_) => "storage",
            Self::Index(_) => "index",
            Self::Trust(_) => "trust",
            Self::Gateway(_) => "gateway",
            Self::Worker(_) => "worker",
            Self::Prober(_) => "prober",
            _ => "command",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let telemetry = TelemetryConfig::from_environment(cli.command.role());
    let telemetry =
        telemetry.map_err(anyhow::Error::from).and_then(|config| Ok(openarchive_telemetry::init(&config)?));
    let _telemetry = match telemetry {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("openarchive: {error:#}");
            return ExitCode::from(1);
        }
    };
    // Fails only if a provider is installed already, and nothing ran before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    run(cli.command).await.unwrap_or_else(|error| {
        eprintln!("openarchive: {error:#}");
        ExitCode::from(1)
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev { data, core, smtp } => dev::run(&data, &core, Some(smtp)).await?,
        Command::All { config: Some(config), .. } => all::run(&config).await?,
        Command::All { data: Some(data), core, .. } => dev::run(&data, &core, None).await?,
        Command::All { .. } => anyhow::bail!("give --data or --config"),
        Command::Ingest(arguments) => roles::run(Role::Ingest, &arguments.config).await?,
        Command::Storage(arguments) => roles::run(Role::Storage, &arguments.config).await?,
        Command::Index(arguments) => roles::run(Role::Index, &arguments.config).await?,
        Command::Trust(arguments) => roles::run(Role::Trust, &arguments.config).await?,
        Command::Gateway(arguments) => roles::run(Role::Gateway, &arguments.config).await?,
        Command::Worker(arguments) => roles::run(Role::Worker, &arguments.config).await?,
        Command::Prober(arguments) => prober::run(&arguments.config).await?,
        Command::Migrate(arguments) => migrate::run(&arguments.config).await?,
        Command::Doctor { part, arguments, json } => return doctor::run(part, &arguments.config, json).await,
        Command::Token { command } => match command {
            TokenCommand::Issue { tenant, arguments } => token::issue(&arguments.config, &tenant).await?,
            TokenCommand::List { tenant, arguments } => token::list(&arguments.config, &tenant).await?,
            TokenCommand::Revoke { tenant, id, arguments } => {
                token::revoke(&arguments.config, &tenant, &id).await?;
            }
        },
        Command::TrustPolicy { arguments, tenant } => trust_policy::run(&arguments.config, &tenant)?,
        Command::Agent { command: AgentCommand::Add { agent, data, out } } => {
            agent_add::run(&agent, &data, &out)?;
        }
        Command::Rebuild { data } => rebuild::run(&data).await?,
        Command::Fsck { data, json } => return fsck::run(&data, json).await,
        Command::SupportBundle { about: BundleAbout { data, role, config }, logs, out } => {
            let about = match (data, role, config) {
                (Some(data), _, _) => About::Data(data),
                (None, Some(role), Some(config)) => About::Role(role, config),
                _ => anyhow::bail!("give --data, or --role and --config"),
            };
            support_bundle::run(&about, &logs, &out).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
