//! `openarchive dev` and `openarchive all --data DIR`: an archive on one machine, with an authority of its own.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use openarchive_domain::SystemClock;
use openarchive_edge::{agent::Agent, config::Config};
use openarchive_schema::DatabaseRole;
use openarchive_trust::CheckpointIntervals;
use openarchive_worker::Fixity;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    CoreArguments, agent_add,
    archive_file::ArchiveFile,
    authority::Authority,
    core::{Core, CoreSettings, own_agents_ca},
    endpoints::{self, Endpoints},
    layout::{DataDir, Secrecy, write_file},
    listeners::{Failure, Front, FrontListeners, bind, failure},
    probes, rebuild,
};

/// The agent that `dev` runs beside the core.
const DEV_AGENT: &str = "dev";

/// Runs until SIGTERM or SIGINT, then stops in order; also once its database or a socket is gone, which is an error. With
/// `smtp`, an agent runs beside the core.
pub(crate) async fn run(
    data: &Path,
    arguments: &CoreArguments,
    smtp: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let data = DataDir::open(data)?;
    rebuild::refuse_unfinished(&data)?;
    let archive = ArchiveFile::open_or_create(data.root(), arguments.domain.as_deref(), &arguments.tenants)?;
    let authority = Authority::open_or_create(&data.tls()?, &archive.domain)?;
    let listeners = FrontListeners {
        grpc: bind(arguments.ingest, "--ingest").await?,
        rest: bind(arguments.gateway, "--gateway").await?,
    };
    let admin = match arguments.admin {
        Some(admin) => Some(bind(admin, "--admin").await?),
        None => None,
    };
    let (ingest_at, gateway_at) = (listeners.grpc.local_addr()?, listeners.rest.local_addr()?);
    let admin_at = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let settings = CoreSettings {
        checkpoints: checkpoints(arguments, smtp),
        agents_ca: own_agents_ca(&data)?,
        fixity: Fixity::usual(Arc::new(SystemClock)),
    };
    let mut core = Core::start(&data, &archive, settings).await?;
    let front = Front::of_authority(&core, listeners, &authority, &archive.domain)?;
    if let Some(admin) = admin {
        probes::serve(admin, Some(core.database.pool(DatabaseRole::Ingest)), front.stopped());
    }
    let agent = match smtp {
        Some(smtp) => Some(start_agent(&data, &archive, &authority, ingest_at, smtp).await?),
        None => None,
    };

    let running = Endpoints {
        gateway: format!("https://localhost:{}", gateway_at.port()),
        ingest: format!("https://localhost:{}", ingest_at.port()),
        smtp: agent.as_ref().and_then(|agent| agent.listening().first().map(|listening| listening.address)),
        admin: admin_at,
        pid: std::process::id(),
    };
    running.write(&data)?;
    announce(&data, &archive, &running);

    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failure = failure(&mut core.database, &front) => match failure {
            Failure::Database(why) => {
                endpoints::remove(&data);
                bail!(why);
            }
            Failure::Listener(why) => Some(why),
        },
    };
    endpoints::remove(&data);
    if let Some(agent) = agent {
        agent.stop().await;
    }
    front.drain().await;
    core.shutdown().await;
    if let Some(why) = failure {
        bail!(why);
    }
    println!("stopped");
    Ok(())
}

fn announce(data: &DataDir, archive: &ArchiveFile, running: &Endpoints) {
    println!(
        "archive   {}  (domain {}, trust: non_qualified software keys)",
        data.root().display(),
        archive.domain
    );
    println!("gateway   {}", running.gateway);
    println!("ingest    {}", running.ingest);
    if let Some(smtp) = running.smtp {
        println!("smtp      {smtp}  STARTTLS");
    }
    if let Some(admin) = running.admin {
        println!("admin     http://{admin}/metrics");
    }
    println!("ready: stop with Ctrl-C");
}

/// What the caller wrote, else what `dev` (it has an agent) or production uses.
fn checkpoints(arguments: &CoreArguments, smtp: Option<SocketAddr>) -> CheckpointIntervals {
    match (arguments.checkpoint_seconds, smtp) {
        (Some(seconds), _) => CheckpointIntervals::every(Duration::from_secs(seconds)),
        (None, Some(_)) => CheckpointIntervals::DEV,
        (None, None) => CheckpointIntervals::PRODUCTION,
    }
}

/// Starts an agent over the same wire as any other: mTLS to ingest, its own certificate, its own buffer.
async fn start_agent(
    data: &DataDir,
    archive: &ArchiveFile,
    authority: &Authority,
    ingest: SocketAddr,
    smtp: SocketAddr,
) -> anyhow::Result<Agent> {
    let folder = data.edge()?;
    let bundle = folder.join("identity");
    if !bundle.join("agent.pem").is_file() {
        let tenant = archive.tenants.first().context("the archive has no tenant")?;
        let agent = format!("{tenant}/{DEV_AGENT}").parse()?;
        let policy = std::fs::read_to_string(data.trust_policy()).context("cannot read the trust policy")?;
        agent_add::write_bundle(authority, &agent, &policy, &bundle)?;
    }
    // The SMTP certificate is the archive's own, so that `--ca DIR/tls/ca.pem` is enough to check it.
    let identity = authority.server("smtp")?;
    write_file(&folder.join("smtp.key"), identity.key.as_bytes(), Secrecy::Secret)?;
    write_file(&folder.join("smtp.pem"), identity.certificate.as_bytes(), Secrecy::Public)?;
    let path = folder.join("agent.yaml");
    write_file(&path, agent_config(ingest, smtp).as_bytes(), Secrecy::Public)?;
    let config = Config::load(&path)?;
    Agent::start(config, Arc::new(SystemClock)).await.context("the agent does not start")
}

/// Where a process of this machine reaches what listens at `address`. An address, not a name: a name may have others, too.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The configuration of the agent beside the core: written to a file, so that a person can read what runs.
fn agent_config(ingest: SocketAddr, smtp: SocketAddr) -> String {
    let ingest = from_here(ingest);
    format!(
        "# Written anew at each start of `openarchive dev`.
dataDir: buffer
hostname: localhost
core:
  address: https://{ingest}
  ca: identity/ca.pem
  certificate: identity/agent.pem
  key: identity/agent.key
  logPolicy: identity/log.policy
listeners:
  - name: journal
    address: \"{address}\"
    port: {port}
    startTLS: {{certificate: smtp.pem, key: smtp.key, required: true}}
    peers:
      - cidrs: [127.0.0.0/8, \"::1/128\"]
        journalMode: plain
",
        address = smtp.ip(),
        port = smtp.port(),
    )
}
