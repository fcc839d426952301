//! TLS, slow clients, and the end.

use std::{fs, sync::Arc, time::Duration};

use openarchive_gateway::{GatewayTls, SHUTDOWN_TIME_MAX, serve};
use openarchive_rpc::ReloadingCertificate;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::archive::{Archive, WAIT_MAX};

#[tokio::test]
async fn over_tls_clients_that_dawdle_hold_up_nobody_and_a_stop_waits_for_no_idle_connection() {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let archive = Archive::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(
        listener,
        Some(GatewayTls::Fixed(Arc::new(tls))),
        archive.router.clone(),
        async {
            let _ = stopped.await;
        },
    ));

    // They connect and say nothing, or not TLS.
    let mut dawdling = Vec::new();
    for _ in 0..5 {
        dawdling.push(TcpStream::connect(address).await.unwrap());
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = timeout(WAIT_MAX, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(closed.is_err() || !answer.starts_with(b"HTTP"), "no HTTP in clear on a TLS port");

    let authority = reqwest::Certificate::from_der(made.cert.der()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap();
    let url = format!("https://localhost:{}/api/v1", address.port());
    let health = client.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(health.status().as_u16(), 200);
    let searched = client.post(format!("{url}/search/emails/")).bearer_auth(&archive.token);
    let searched = searched.json(&serde_json::json!({ "query": "*" })).send().await.unwrap();
    assert_eq!(searched.json::<serde_json::Value>().await.unwrap()["total"], 0);

    // The client's connection stays open and idle.
    let begun = Instant::now();
    stop.send(()).unwrap();
    timeout(WAIT_MAX, server).await.unwrap().unwrap().unwrap();
    assert!(begun.elapsed() < SHUTDOWN_TIME_MAX, "it waited {:?}", begun.elapsed());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn without_tls_it_serves_in_clear_one_request_after_another() {
    let archive = Archive::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, None, archive.router.clone(), std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\"down\":[]}") {
            let read = timeout(Duration::from_secs(10), stream.read_buf(&mut answer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    server.abort();
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_new_connections_and_the_earlier_ones_stay() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let issue = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let client_of = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let authority = reqwest::Certificate::from_der(made.cert.der()).unwrap();
        reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap()
    };
    let early = client_of(&issue());
    let archive = Archive::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = format!("https://localhost:{}/api/v1/health", listener.local_addr().unwrap().port());
    let tls = GatewayTls::Reloading(ReloadingCertificate::load(&certificate, &key).unwrap());
    let server = tokio::spawn(serve(listener, Some(tls), archive.router.clone(), std::future::pending()));
    assert!(early.get(&health).send().await.unwrap().status().is_success());
    // Each of these knows one certificate only.
    let late = client_of(&issue());
    let deadline = Instant::now() + WAIT_MAX;
    while late.get(&health).send().await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(early.get(&health).send().await.unwrap().status().is_success(), "it still has its connection");
    server.abort();
}
