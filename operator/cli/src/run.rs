//! `run`: the operator itself, until SIGTERM or SIGINT.

use anyhow::{Context as _, bail};
use kube::Config;
use openarchive_domain::SystemClock;
use openarchive_operator_controller::{
    ANSWER_SECONDS_MAX, Context, Ready, Settings, client,
    core::{DIAL_OVERRIDE, DialOverrides, Dialler},
};
use openarchive_telemetry::{AdminServer, Readiness, TelemetryConfig};
use std::{env, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Look at this namespace only; by default at all of them
    #[arg(long)]
    namespace: Option<String>,
    /// Where the operator's own pod runs
    #[arg(long, env = "OPENARCHIVE_OPERATOR_NAMESPACE")]
    operator_namespace: String,
    /// Prefix of the archive's images, such as registry.example.org/openarchive
    #[arg(long, default_value = "")]
    image_registry: String,
    /// Plain HTTP: /livez, /readyz, /metrics
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// The operator's own; its certificates lie there while it runs
    #[arg(long, default_value = "/tmp/openarchive-operator")]
    folder: PathBuf,
}

/// Set in every pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let overrides = overrides()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(operate(args, overrides))?;
    Ok(ExitCode::SUCCESS)
}

/// For tests and outside a cluster; within one it would lead the operator's calls astray.
fn overrides() -> anyhow::Result<DialOverrides> {
    match env::var(DIAL_OVERRIDE) {
        Err(_) => Ok(DialOverrides::default()),
        Ok(_) if env::var_os(IN_CLUSTER).is_some() => bail!("{DIAL_OVERRIDE} is not for use in a cluster"),
        Ok(text) => Ok(text.parse()?),
    }
}

async fn operate(args: &Args, overrides: DialOverrides) -> anyhow::Result<()> {
    let telemetry = openarchive_telemetry::init(&TelemetryConfig::from_environment("operator")?)?;
    let config = Config::infer().await.context("no cluster is configured")?;
    let client = client(config, ANSWER_SECONDS_MAX)?;
    let settings = Settings {
        namespace: args.namespace.clone(),
        operator_namespace: args.operator_namespace.clone(),
        image_registry: args.image_registry.clone(),
    };
    let dialler = Dialler::new(&args.folder, overrides).with_context(|| args.folder.display().to_string())?;
    let context = Arc::new(Context::new(client, Arc::new(SystemClock), settings, dialler));
    let ready = Ready::default();
    let listener = TcpListener::bind(args.admin).await.with_context(|| args.admin.to_string())?;
    let (stop, stopped) = watch::channel(false);
    let caches = ready.clone();
    let readiness = Readiness::new().needs("caches", move || std::future::ready(caches.is_ready()));
    let admin = tokio::spawn(AdminServer::new(readiness).serve(listener, stopped));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stops: passes in hand may end");
        stop.send_replace(true);
    };
    openarchive_operator_controller::run(context, ready, asked).await;
    admin.abort();
    telemetry.flush();
    Ok(())
}
