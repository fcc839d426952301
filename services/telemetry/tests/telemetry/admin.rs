use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openarchive_telemetry::{ADMIN_CONNECTIONS_MAX, AdminLimits, AdminServer, Readiness, metrics};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

struct Site {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Site {
    async fn start(readiness: Readiness) -> Self {
        Self::within(AdminLimits::default(), readiness).await
    }

    async fn within(limits: AdminLimits, readiness: Readiness) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(AdminServer::within(limits, readiness).serve(listener, stopped));
        Self { address, stop, serving }
    }

    /// Status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_liveness_does_not_care() {
    let database = Arc::new(AtomicBool::new(false));
    let asked = database.clone();
    let readiness = Readiness::new()
        .needs("object store", async || true)
        .needs("database", move || {
            let asked = asked.clone();
            async move { asked.load(Ordering::Relaxed) }
        })
        .needs("trust", async || false);
    let site = Site::start(readiness).await;
    assert_eq!(site.get("/livez").await, (200, "ok\n".into()));
    assert_eq!(site.get("/readyz").await, (503, "not ready: database, trust\n".into()));
    database.store(true, Ordering::Relaxed);
    assert_eq!(site.get("/readyz").await, (503, "not ready: trust\n".into()));
    assert_eq!(site.get("/elsewhere").await.0, 404);
}

#[tokio::test]
async fn a_process_that_stops_is_alive_and_not_ready() {
    let site = Site::start(Readiness::new()).await;
    assert_eq!(site.get("/readyz").await, (200, "ok\n".into()));
    site.stop.send(true).unwrap();
    assert_eq!(site.get("/readyz").await, (503, "not ready: stopping\n".into()));
    assert_eq!(site.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_check_that_does_not_answer_counts_as_missing() {
    let limits = AdminLimits { check: Duration::from_millis(50), ..AdminLimits::default() };
    let readiness =
        Readiness::new().needs("slow", std::future::pending::<bool>).needs("quick", async || true);
    let site = Site::within(limits, readiness).await;
    assert_eq!(site.get("/readyz").await, (503, "not ready: slow\n".into()));
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let site = Site::start(Readiness::new()).await;
    metrics::LEDGER_APPENDS.inc(["acme-evidence"]);
    let (status, body) = site.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("openarchive_trust_leaves_total{log=\"acme-evidence\"} 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn clients_that_say_nothing_are_cut_off_and_do_not_keep_others_out() {
    let limits = AdminLimits { connection: Duration::from_millis(200), ..AdminLimits::default() };
    let site = Site::within(limits, Readiness::new()).await;
    let mut silent = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS_MAX {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    assert_eq!(site.get("/livez").await.0, 200);
}
