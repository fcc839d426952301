//! A whole agent that is emptied before it goes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use openarchive_edge::{
    agent::{Agent, last_figures},
    buffer::{Buffer, BufferOptions},
    config::{CertificateSource, Config, CoreConfig, Intake, Limits, ListenerConfig},
    import::ImportLock,
    smtp::{
        Peer, PeerLimits,
        session::{Protocol, StartTls},
    },
    status::Status,
    sync::{CoreAddress, LogTrust, SyncOptions, SyncWorker},
};
use openarchive_ledger::policy::Policy;
use openarchive_mail::journal::JournalMode;
use tokio_util::sync::CancellationToken;

use super::{
    archive::{ORIGIN, signer},
    mutual_tls::{Authority, agent_files},
    service::SharedArchive,
    site::{clock, wait_until},
};

fn config(folder: &Path, core: CoreAddress, intake: Intake) -> Config {
    let CoreAddress { url, ca, certificate, key } = core;
    let log_policy = folder.join("log.policy");
    std::fs::write(&log_policy, Policy::of_logs(vec![signer(ORIGIN, 1).verifier().clone()]).to_text())
        .unwrap();
    Config {
        data_dir: folder.join("data"),
        hostname: "edge.test".to_owned(),
        core: Some(CoreConfig { address: url, ca, certificate, key, log_policy }),
        listeners: vec![ListenerConfig {
            name: "journal".to_owned(),
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: Protocol::Smtp,
            start_tls: StartTls::Offered,
            certificate: CertificateSource::SelfSigned,
            peers: vec![Peer {
                cidrs: vec!["127.0.0.0/8".parse().unwrap()],
                mode: JournalMode::Plain,
                limits: PeerLimits::default(),
            }],
        }],
        high_water_bytes: 1 << 30,
        limits: Limits::default(),
        intake,
        admin: None,
    }
}

/// Every line that the server says to a client that says these, up to the end of the session.
fn session(address: SocketAddr, said: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    BufReader::new(stream).lines().map(Result::unwrap).collect()
}

async fn status(agent: &Agent, intake: Intake) -> Status {
    let now = openarchive_domain::Clock::now(&*clock());
    let figures = last_figures(agent.buffer().data_dir());
    Status::of(agent.buffer(), intake, now, figures).await.unwrap()
}

/// Nobody is told that no mail is taken while it is.
#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_the_configuration_says_from_what_the_running_agent_does() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let core = agent_files(folder.path(), &authority, &authority, "https://localhost:1".to_owned());
    let restart = "`drain` is set: in force after a restart of the agent";
    let cases = [
        (Intake::Open, Intake::Draining, restart),
        (Intake::Draining, Intake::Draining, "none is taken: `drain` is set"),
        (Intake::Draining, Intake::Open, "none is taken until a restart of the agent"),
    ];
    for (running, configured, expected) in cases {
        let agent = Agent::start(config(folder.path(), core.clone(), running), clock()).await.unwrap();
        wait_until("the running agent has said it", async || {
            last_figures(agent.buffer().data_dir())
                .is_some_and(|figures| figures["draining"] == (running == Intake::Draining))
        })
        .await;
        let status = status(&agent, configured).await;
        assert_eq!(status.draining, configured == Intake::Draining);
        assert!(status.to_string().contains(expected), "{status}");
        agent.stop().await;
    }
    let agent = Agent::start(config(folder.path(), core, Intake::Open), clock()).await.unwrap();
    wait_until("the running agent has said it", async || {
        last_figures(agent.buffer().data_dir()).is_some_and(|figures| figures["draining"] == false)
    })
    .await;
    assert!(!status(&agent, Intake::Open).await.to_string().contains("new mail"));
    agent.stop().await;
}

/// Whoever reads that it is drained takes its data folder away.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_not_said_to_drain_while_an_import_is_under_way() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let folder = tempfile::tempdir().unwrap();
    let options = BufferOptions { data_dir: folder.path().join("data"), high_water_bytes: 1 << 30 };
    let importing = ImportLock::hold(&options.data_dir).unwrap();
    let buffer = Buffer::open(options).unwrap();
    let policy = Policy::of_logs(vec![signer(ORIGIN, 1).verifier().clone()]);
    let trust = LogTrust::from_policy("acme/mx1".parse().unwrap(), &policy).unwrap();
    let options = SyncOptions {
        intake: Intake::Draining,
        draining_report_interval: Duration::from_millis(20),
        poll_interval: Duration::from_millis(20),
        ..SyncOptions::default()
    };
    let worker = SyncWorker::new(buffer, serving.channel(), trust, clock(), options);
    let stopping = CancellationToken::new();
    let running = tokio::spawn(worker.run(stopping.clone()));
    let said = || archive.lock().reports.iter().map(|report| report.draining).collect::<Vec<_>>();
    wait_until("it has reported", async || said().len() > 2).await;
    assert!(!said().contains(&true));
    drop(importing);
    wait_until("it says that it drains", async || said().contains(&true)).await;
    stopping.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_drains_turns_clients_away_sends_what_it_has_and_says_that_nothing_is_left() {
    const MAILS: u64 = 3;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (authority, archive) = (Authority::new(), SharedArchive::new());
    let away = archive.serve_over("acme/mx1", 0, Some(authority.server_tls()));
    let port = away.address.port();
    drop(away);
    let core = agent_files(folder.path(), &authority, &authority, format!("https://localhost:{port}"));

    let agent = Agent::start(config(folder.path(), core.clone(), Intake::Open), clock()).await.unwrap();
    let address = agent.listening()[0].address;
    for n in 0..MAILS {
        let (mail, head) =
            (format!("Subject: {n}\r\n\r\n"), "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>");
        let said = format!("{head}\r\nBDAT {} LAST\r\n{mail}QUIT\r\n", mail.len());
        let lines = tokio::task::spawn_blocking(move || session(address, &said)).await.unwrap();
        assert!(lines.contains(&format!("250 2.0.0 kept as {}", n + 1)), "{lines:?}");
    }
    agent.stop().await;

    let agent = Agent::start(config(folder.path(), core, Intake::Draining), clock()).await.unwrap();
    let address = agent.listening()[0].address;
    let lines = tokio::task::spawn_blocking(move || session(address, "")).await.unwrap();
    assert_eq!(lines, ["421 4.3.2 this agent takes no new mail, try another"]);
    let status = status(&agent, Intake::Draining).await;
    assert_eq!((status.buffered_messages, status.draining), (MAILS, true));

    let _serving = archive.serve_over("acme/mx1", port, Some(authority.server_tls()));
    wait_until("the buffer is empty", async || agent.buffer().stats().await.unwrap().messages == 0).await;
    wait_until("the core is told that nothing is left", async || {
        let archive = archive.lock();
        let report = archive.reports.last().unwrap();
        assert!(report.draining);
        report.buffered_messages == 0 && report.highest_seq == MAILS
    })
    .await;
    assert_eq!(archive.lock().counted().1, MAILS as usize);
    agent.stop().await;
}
