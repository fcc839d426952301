//! A whole agent that is emptied before it goes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use openarchive_edge::{
    agent::Agent,
    config::{CertificateSource, Config, CoreConfig, Intake, Limits, ListenerConfig},
    smtp::{
        Peer, PeerLimits,
        session::{Protocol, StartTls},
    },
    status::Status,
    sync::CoreAddress,
};
use openarchive_ledger::policy::Policy;
use openarchive_mail::journal::JournalMode;

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
    let status =
        Status::of(agent.buffer(), Intake::Draining, openarchive_domain::Clock::now(&*clock()), None)
            .await
            .unwrap();
    assert_eq!((status.buffered_messages, status.draining), (MAILS, true));
    assert!(status.to_string().contains("none is taken"), "{status}");

    let _serving = archive.serve_over("acme/mx1", port, Some(authority.server_tls()));
    wait_until("the buffer is empty", async || agent.buffer().stats().await.unwrap().messages == 0).await;
    wait_until("the core is told that nothing is left", async || {
        let archive = archive.lock();
        let report = archive.report.as_ref().unwrap();
        assert!(report.draining);
        report.buffered_messages == 0 && report.highest_seq == MAILS
    })
    .await;
    assert_eq!(archive.lock().counted().1, MAILS as usize);
    agent.stop().await;
}
