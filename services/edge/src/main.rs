//! The agent's command line.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use openarchive_domain::{Clock, SystemClock};
use openarchive_edge::{
    accept::Acceptor,
    agent::{Agent, last_figures},
    buffer::{Buffer, BufferOptions},
    config::{Config, Intake},
    enrol::{enrol, enrol_if_needed},
    import::{ImportLock, ProgressDisplay, import},
    status::Status,
    sync::{AlarmKind, clear_alarm},
};
use openarchive_telemetry::TelemetryConfig;
use tokio::signal::unix::{SignalKind, signal};

/// OpenArchive's agent beside a mail server.
#[derive(Debug, Parser)]
#[command(name = "openarchive-edge", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept journaled mail, buffer it, send it to the archive.
    Run {
        #[arg(long)]
        config: PathBuf,
    },
    /// Take in an EML file, a folder of them, a Maildir or an mbox. Killed and repeated, it goes on where it was.
    Import {
        path: PathBuf,
        #[arg(long)]
        config: PathBuf,
        /// No progress bar; one JSON object at the end.
        #[arg(long)]
        json: bool,
    },
    /// Get this agent's first certificate: makes its key, shows a one-time token to the core, and writes key, certificate
    /// and log policy where the configuration looks for them. Repeated, it goes on where it was; it overwrites nothing.
    Enrol {
        #[arg(long)]
        config: PathBuf,
        /// File with the token that `archivectl agents enrol NAME` printed.
        #[arg(long)]
        token_file: PathBuf,
        /// Where a good certificate is there already, say so and end well. One that has ended is replaced.
        #[arg(long)]
        if_needed: bool,
    },
    /// Clear an alarm, once its cause was looked into. Sync goes on by itself.
    ClearAlarm {
        /// As `status` shows it.
        kind: String,
        #[arg(long)]
        config: PathBuf,
    },
    /// Show what is buffered and what needs attention.
    Status {
        #[arg(long)]
        config: PathBuf,
        #[arg(short, long, default_value = "text")]
        output: Output,
    },
}

/// What is asked for where an agent has its certificate already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enrolment {
    /// It is an error: somebody means another agent.
    Always,
    /// There is nothing to do while it is good.
    IfNeeded,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openarchive-edge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    // An error says that one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    // Ends before the runtime, which sends its last spans.
    let _inside = runtime.enter();
    let _telemetry = openarchive_telemetry::init(&TelemetryConfig::from_environment("agent")?)?;
    match command {
        Command::Run { config } => runtime.block_on(run(Config::load(&config)?)),
        Command::Import { path, config, json } => runtime.block_on(import_mail(&config, &path, json)),
        Command::Enrol { config, token_file, if_needed } => {
            let wanted = if if_needed { Enrolment::IfNeeded } else { Enrolment::Always };
            runtime.block_on(enrol_agent(Config::load(&config)?, &token_file, wanted))
        }
        Command::ClearAlarm { kind, config } => runtime.block_on(clear(Config::load(&config)?, &kind)),
        Command::Status { config, output } => runtime.block_on(status(Config::load(&config)?, output)),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    raise_open_files_limit();
    if config.core.is_none() {
        tracing::warn!("no core is configured: mail is buffered and goes nowhere");
    }
    if config.intake == Intake::Draining {
        tracing::info!("draining: no new mail is taken, what is buffered is sent on");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let agent = Agent::start(config, Arc::new(SystemClock)).await?;
    for listening in agent.listening() {
        writeln!(io::stdout(), "listening {} {}", listening.name, listening.address)?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    agent.stop().await;
    Ok(())
}

async fn import_mail(config: &Path, path: &Path, json: bool) -> anyhow::Result<()> {
    // Once it is held, no agent says any more that it is drained; one that has said so was started with `drain` set, which
    // is read here for the second time.
    let _under_way = ImportLock::hold(&Config::load(config)?.data_dir)?;
    let config = Config::load(config)?;
    anyhow::ensure!(
        config.intake == Intake::Open,
        "drain: this agent takes no new mail; take `drain` out of its configuration, or import with another agent"
    );
    let buffer = open_buffer(config)?;
    let acceptor = Acceptor::new(buffer, Arc::new(SystemClock));
    let display =
        if json || !io::stderr().is_terminal() { ProgressDisplay::Hidden } else { ProgressDisplay::Bar };
    let summary = import(&acceptor, path, display).await?;
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
    } else {
        write!(io::stdout(), "{summary}")?;
    }
    anyhow::ensure!(
        summary.complete,
        "{} could not be imported; repeat the import once that is mended",
        summary.skipped
    );
    Ok(())
}

async fn enrol_agent(config: Config, token_file: &Path, wanted: Enrolment) -> anyhow::Result<()> {
    let core = config
        .core
        .context("core: there is no such section; it says where the core is and names the files")?;
    let enrolled = match wanted {
        Enrolment::Always => Some(enrol(&core, token_file).await?),
        Enrolment::IfNeeded => enrol_if_needed(&core, token_file, SystemClock.now()).await?,
    };
    let Some(enrolled) = enrolled else {
        let path = core.certificate.display();
        writeln!(io::stdout(), "nothing to do: the certificate {path} is there already")?;
        return Ok(());
    };
    writeln!(
        io::stdout(),
        "agent {} has enrolled: key {}, certificate {}; remove {}",
        enrolled.agent,
        core.key.display(),
        core.certificate.display(),
        token_file.display()
    )?;
    if enrolled.other_policy {
        let path = core.log_policy.display();
        tracing::warn!(%path, "the log policy that was there stays; it is not the one that the core gave");
    }
    Ok(())
}

async fn clear(config: Config, kind: &str) -> anyhow::Result<()> {
    let known = || AlarmKind::ALL.map(AlarmKind::as_str).join(", ");
    let kind = AlarmKind::ALL
        .into_iter()
        .find(|candidate| candidate.as_str() == kind)
        .with_context(|| format!("there is no alarm {kind:?}; alarms are {}", known()))?;
    clear_alarm(&open_buffer(config)?, kind).await?;
    writeln!(io::stdout(), "cleared {}", kind.as_str())?;
    Ok(())
}

fn open_buffer(config: Config) -> anyhow::Result<Buffer> {
    let Config { data_dir, high_water_bytes, .. } = config;
    Ok(Buffer::open(BufferOptions { data_dir, high_water_bytes })?)
}

async fn status(config: Config, output: Output) -> anyhow::Result<()> {
    let Config { data_dir, high_water_bytes, intake, .. } = config;
    anyhow::ensure!(Buffer::exists(&data_dir), "no agent has run on {} yet", data_dir.display());
    let sync = last_figures(&data_dir);
    let buffer = Buffer::open(BufferOptions { data_dir, high_water_bytes })?;
    let status = Status::of(&buffer, intake, SystemClock.now(), sync).await?;
    match output {
        Output::Text => write!(io::stdout(), "{status}")?,
        Output::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&status)?)?,
    }
    Ok(())
}

/// A session needs a file descriptor, and many systems give a process only 1,024 unless it asks.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files; there may be fewer sessions than configured");
    }
}
