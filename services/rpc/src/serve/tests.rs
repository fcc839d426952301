use std::{collections::BTreeSet, fs, net::SocketAddr, sync::Mutex};

use openarchive_proto::worker::v1::{
    ListJobsRequest, RetryJobRequest, worker_service_client::WorkerServiceClient,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{
    fixture::{Replica, Start, WAIT_MAX, until},
    *,
};
use crate::{
    connect::{Pace, connect},
    tls::fixture::{Authority, Folder, loaded, serial_of},
};

fn client_of(address: SocketAddr, files: &Arc<ReloadingTls>) -> WorkerServiceClient<crate::RpcChannel> {
    WorkerServiceClient::new(connect(&[address.to_string().parse().unwrap()], files.clone(), Pace::NEAR))
}

/// A client that shows no certificate and speaks whatever the test has it speak.
async fn anonymous_stream(address: SocketAddr, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn certificates_of_another_authority_and_of_another_name_are_refused() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let replica = Replica::start(1, &loaded(&authority, 1)).await;
    let seen = client_of(replica.address, &loaded(&authority, 7)).list_jobs(ListJobsRequest::default()).await;
    assert_eq!(seen.unwrap().into_inner().running, 7, "the service sees the client's certificate");

    // They believe ours, but were issued by another.
    let forged = Folder::new(&stranger.issue(8), &authority.pem()).load();
    let refused =
        client_of(replica.address, &forged).list_jobs(ListJobsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("UnknownCA"), "{refused}");

    // Ours, but they believe another.
    let misled = Folder::new(&authority.issue(9), &stranger.pem()).load();
    let refused =
        client_of(replica.address, &misled).list_jobs(ListJobsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("UnknownIssuer"), "{refused}");

    let elsewhere = authority.issue_for(&["elsewhere.test"], 3);
    let impostor = Replica::start(2, &Folder::new(&elsewhere, &authority.pem()).load()).await;
    let refused = client_of(impostor.address, &loaded(&authority, 7))
        .list_jobs(ListJobsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_client_without_certificate_gets_in_only_where_that_is_said() {
    let authority = Authority::new("ours");
    let call = async |clients| {
        let start = Start { clients, ..Start::default() };
        let replica = start.replica(1, &loaded(&authority, 1)).await;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
        let url = format!("https://localhost:{}", replica.address.port());
        let channel = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap().connect_lazy();
        let anonymous = WorkerServiceClient::new(channel).list_jobs(ListJobsRequest::default()).await;
        let stranger = Folder::new(&Authority::new("theirs").issue(8), &authority.pem()).load();
        let forged = client_of(replica.address, &stranger).list_jobs(ListJobsRequest::default()).await;
        assert_eq!(forged.unwrap_err().code(), Code::Unavailable);
        anonymous
    };
    assert_eq!(call(ClientCertificates::Optional).await.unwrap().into_inner().running, 0);
    assert!(call(ClientCertificates::Required).await.is_err());
}

#[tokio::test]
async fn while_authorities_are_exchanged_both_are_believed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let both = old.pem() + &new.pem();
    let replica = Replica::start(1, &Folder::new(&new.issue(1), &both).load()).await;
    for client in [Folder::new(&old.issue(2), &both), Folder::new(&new.issue(3), &both)] {
        client_of(replica.address, &client.load()).list_jobs(ListJobsRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_and_no_call_fails() {
    let authority = Authority::new("ours");
    let (server, client) = (authority.issue(1), authority.issue(11));
    let (server, client) = (Folder::new(&server, &authority.pem()), Folder::new(&client, &authority.pem()));
    // Short ages stand for the passing of time.
    let builder = server_builder().max_connection_age(Duration::from_millis(150));
    let replica = Start { builder, ..Start::default() }.replica(1, &server.load()).await;
    let calls = client_of(replica.address, &client.load());
    let serials = Arc::new(Mutex::new(BTreeSet::new()));
    let mut load = JoinSet::new();
    let done = CancellationToken::new();
    for _ in 0..8 {
        let (mut calls, serials, done) = (calls.clone(), serials.clone(), done.clone());
        load.spawn(async move {
            let mut count = 0_usize;
            while !done.is_cancelled() {
                let answer = timeout(WAIT_MAX, calls.list_jobs(ListJobsRequest::default()));
                let answer = answer.await.expect("a call gets no answer").unwrap();
                serials.lock().unwrap().insert(answer.into_inner().running);
                count += 1;
            }
            count
        });
    }
    let server_serial = async || {
        let stream = timeout(WAIT_MAX, anonymous_stream(replica.address, &authority)).await.unwrap();
        serial_of(&stream.get_ref().1.peer_certificates().unwrap()[0])
    };
    assert_eq!(server_serial().await, 1);
    until("the old client certificate is seen", async || serials.lock().unwrap().contains(&11)).await;
    server.write(&authority.issue(2));
    client.write(&authority.issue(12));
    until("the new server certificate is seen", async || server_serial().await == 2).await;
    until("the new client certificate is seen", async || serials.lock().unwrap().contains(&12)).await;
    // A key of another certificate: the earlier pair stays in use.
    fs::write(server.files().key, authority.issue(3).key).unwrap();
    let changed = Instant::now();
    until("the files were looked at again", async || {
        assert_eq!(server_serial().await, 2);
        changed.elapsed() > Duration::from_secs(2 * crate::tls::TLS_CHECK_SECONDS)
    })
    .await;
    done.cancel();
    let counts = load.join_all().await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(*serials.lock().unwrap(), BTreeSet::from([11, 12]));
}

#[tokio::test]
async fn clients_that_dawdle_are_cut_off_and_hold_up_nobody() {
    let authority = Authority::new("ours");
    let limits = ServeLimits { handshake: Duration::from_millis(300), ..ServeLimits::default() };
    let start = Start { limits, clients: ClientCertificates::Optional, ..Start::default() };
    let replica = start.replica(1, &loaded(&authority, 1)).await;
    let mut silent = TcpStream::connect(replica.address).await.unwrap();
    let mut plain = TcpStream::connect(replica.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // Past the handshake, and then one byte short of what HTTP/2 begins with.
    let mut halting = anonymous_stream(replica.address, &authority).await;
    halting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await.unwrap();

    let mut client = client_of(replica.address, &loaded(&authority, 2));
    client.list_jobs(ListJobsRequest::default()).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(WAIT_MAX, silent.read_to_end(&mut said)).await.unwrap();
    let _ = timeout(WAIT_MAX, plain.read_to_end(&mut said)).await.unwrap();
    let _ = timeout(WAIT_MAX, halting.read_to_end(&mut said)).await.unwrap();
    // That connection is older than the handshake may be, and stays.
    client.list_jobs(ListJobsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let authority = Authority::new("ours");
    let limits = ServeLimits { connections: 2, handshakes_at_once: 1, ..ServeLimits::default() };
    let start = Start { limits, clients: ClientCertificates::Optional, ..Start::default() };
    let replica = start.replica(1, &loaded(&authority, 1)).await;
    let files = loaded(&authority, 2);
    let (mut first, mut second) = (client_of(replica.address, &files), client_of(replica.address, &files));
    first.list_jobs(ListJobsRequest::default()).await.unwrap();
    second.list_jobs(ListJobsRequest::default()).await.unwrap();
    let third = anonymous_stream(replica.address, &authority);
    let mut third = pin!(third);
    let waited = timeout(Duration::from_millis(200), &mut third).await;
    assert!(waited.is_err(), "there is no room");
    drop(first);
    timeout(WAIT_MAX, third).await.unwrap();
    second.list_jobs(ListJobsRequest::default()).await.unwrap();

    // One handshake at a time: who dawdles in his holds up the next only until he is cut off.
    let limits = ServeLimits {
        handshakes_at_once: 1,
        handshake: Duration::from_millis(300),
        ..ServeLimits::default()
    };
    let replica = Start { limits, ..Start::default() }.replica(2, &loaded(&authority, 1)).await;
    let _silent = TcpStream::connect(replica.address).await.unwrap();
    client_of(replica.address, &files).list_jobs(ListJobsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_stop_lets_a_call_in_hand_end_and_takes_no_other() {
    let authority = Authority::new("ours");
    let files = loaded(&authority, 1);
    let replica = Replica::start(1, &files).await;
    let mut client = client_of(replica.address, &files);
    let mut slow_client = client.clone();
    let slow = tokio::spawn(async move { slow_client.retry_job(RetryJobRequest::default()).await });
    replica.begun(1).await;
    replica.stop.send(true).unwrap();
    until("the port is closed", async || TcpStream::connect(replica.address).await.is_err()).await;
    until("a new call is refused", async || match client.list_jobs(ListJobsRequest::default()).await {
        Ok(_) => false,
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable);
            true
        }
    })
    .await;
    assert!(!replica.serving.is_finished(), "the slow call is still in hand");
    replica.probe.release.add_permits(1);
    assert!(slow.await.unwrap().unwrap().into_inner().retried);
    replica.ended().await;
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut_off_as_unavailable() {
    let authority = Authority::new("ours");
    let files = loaded(&authority, 1);
    let limits = ServeLimits { drain: Duration::from_millis(200), ..ServeLimits::default() };
    let replica = Start { limits, ..Start::default() }.replica(1, &files).await;
    let mut client = client_of(replica.address, &files);
    let slow = tokio::spawn(async move { client.retry_job(RetryJobRequest::default()).await });
    replica.begun(1).await;
    replica.stop.send(true).unwrap();
    let cut = timeout(WAIT_MAX, slow).await.unwrap().unwrap().unwrap_err();
    assert_eq!(cut.code(), Code::Unavailable, "{cut:?}");
    replica.ended().await;
}
