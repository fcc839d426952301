//! `openarchive prober`: whether the network enforces NetworkPolicies. Probers of one archive connect to each other: to the
//! health port, which the service graph lists, and to a canary port, which it does not. `/verdict` tells what that showed.
//!
//! What it proves: between these pods, at that time, an unlisted TCP connection was kept out while a listed one came through.

mod connect;
mod judge;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Json, Router, extract::State, routing::get};
use openarchive_domain::{Clock, SystemClock};
use openarchive_telemetry::{AdminServer, Readiness};
use serde::Serialize;
use tokio::{
    net::{TcpListener, lookup_host},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    config::{Environment, ProberConfig},
    listeners::told,
    roles::watch_signals,
};
use connect::{Ports, is_own, others, try_peer};
use judge::{Verdict, judge};

/// Between the beginnings of two rounds.
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// Longest wait for the names of the peers.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(3);
/// Pause after the canary could not accept, so that a lack of file descriptors is not met with a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What `/verdict` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    verdict: Verdict,
    /// In words.
    reason: String,
    /// Of the last complete round, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    probed_at: Option<String>,
    /// Where this prober listens, as long as it answers at all.
    canary_port: u16,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(path: &Path) -> anyhow::Result<()> {
    let config = ProberConfig::load(path, &Environment::of_process())?;
    let bind = async |address, key: &'static str| {
        TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
    };
    // The canary first: whoever is answered on the health port is told that it listens.
    let canary = bind(config.canary, "prober.canary").await?;
    let admin = bind(config.admin, "listen.admin").await?;
    let stop = watch_signals()?;
    let (report, reported) = watch::channel(Report {
        verdict: Verdict::Unverified,
        reason: "nothing was tried yet".to_owned(),
        probed_at: None,
        canary_port: config.canary.port(),
    });
    let routes = Router::new().route("/verdict", get(show)).with_state(reported);
    info!(role = "prober", "serves");
    tokio::select! {
        () = AdminServer::new(Readiness::new()).with(routes).serve(admin, stop.clone()) => {}
        () = accept_and_say_nothing(canary) => {}
        () = probe(&config, &report, Arc::new(SystemClock)) => {}
        () = told(stop) => {}
    }
    Ok(())
}

async fn show(State(report): State<watch::Receiver<Report>>) -> Json<Report> {
    Json(report.borrow().clone())
}

async fn accept_and_say_nothing(canary: TcpListener) {
    loop {
        if canary.accept().await.is_err() {
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Round after round, for ever.
async fn probe(config: &ProberConfig, report: &watch::Sender<Report>, clock: Arc<dyn Clock>) {
    let ports = Ports { listed: config.admin.port(), canary: config.canary.port() };
    let mut rounds = interval(PROBE_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let (verdict, reason, probed_at) = match peers(config).await {
            None => (Verdict::Unverified, "a name of the peers cannot be resolved".to_owned(), None),
            Some(peers) => {
                let mut round = JoinSet::new();
                for peer in peers {
                    round.spawn(try_peer(peer, ports));
                }
                let (verdict, reason) = judge(&round.join_all().await);
                (verdict, reason, Some(clock.now().to_string()))
            }
        };
        report.send_modify(|report| {
            if report.verdict != verdict {
                match verdict {
                    Verdict::NotEnforced => warn!(reason, "the verdict is now NotEnforced"),
                    verdict => info!(reason, "the verdict is now {verdict:?}"),
                }
            }
            report.verdict = verdict;
            report.reason = reason;
            report.probed_at = probed_at.or(report.probed_at.take());
        });
    }
}

/// Every other prober that the names stand for now. `None`: a name says nothing.
async fn peers(config: &ProberConfig) -> Option<Vec<std::net::IpAddr>> {
    let mut found = Vec::new();
    for name in &config.peers {
        let addresses = timeout(RESOLVE_TIME_MAX, lookup_host((name.as_str(), config.admin.port())));
        found.extend(addresses.await.ok()?.ok()?.map(|address| address.ip()));
    }
    Some(others(found, |address| is_own(config.admin.ip(), address)))
}
