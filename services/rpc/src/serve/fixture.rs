//! A replica: a real server over a socket, with a service whose answers say whom it saw.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use openarchive_proto::worker::v1::{
    ListJobsRequest, ListJobsResponse, ReindexRequest, ReindexResponse, RetryJobRequest, RetryJobResponse,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::{Request, Response, Status, transport::Server};

use super::{ServeLimits, ServerTls, serve_within, server_builder};
use crate::tls::{ClientCertificates, ReloadingTls, fixture::serial_of};

pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// Waits for a condition, with a deadline.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {WAIT_MAX:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[derive(Clone)]
pub(crate) struct Probe {
    number: u64,
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) release: Arc<Semaphore>,
}

#[tonic::async_trait]
impl WorkerService for Probe {
    /// Answers the replica's number, and the serial number of the client's certificate or 0.
    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let serial = request.peer_certs().map_or(0, |certificates| serial_of(&certificates[0]));
        assert!(request.remote_addr().is_some());
        let answer = ListJobsResponse { ready: self.number, running: serial.into(), ..Default::default() };
        Ok(Response::new(answer))
    }

    /// Answers when the test lets it.
    async fn retry_job(&self, _: Request<RetryJobRequest>) -> Result<Response<RetryJobResponse>, Status> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.release.acquire().await.unwrap().forget();
        Ok(Response::new(RetryJobResponse { retried: true }))
    }

    async fn reindex(&self, _: Request<ReindexRequest>) -> Result<Response<ReindexResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) probe: Probe,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

pub(crate) struct Start {
    pub(crate) limits: ServeLimits,
    pub(crate) builder: Server,
    pub(crate) clients: ClientCertificates,
    pub(crate) address: SocketAddr,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            limits: ServeLimits::default(),
            builder: server_builder(),
            clients: ClientCertificates::Required,
            address: "127.0.0.1:0".parse().unwrap(),
        }
    }
}

impl Start {
    pub(crate) async fn replica(mut self, number: u64, files: &Arc<ReloadingTls>) -> Replica {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let probe = Probe { number, begun: Arc::default(), release: Arc::new(Semaphore::new(0)) };
        let router = self.builder.add_service(WorkerServiceServer::new(probe.clone()));
        let tls = ServerTls { files: files.clone(), clients: self.clients };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_within(self.limits, listener, router, tls, stopped));
        Replica { address, probe, stop, serving }
    }
}

impl Replica {
    pub(crate) async fn start(number: u64, files: &Arc<ReloadingTls>) -> Self {
        Start::default().replica(number, files).await
    }

    /// As if its process were killed. The port is free when this returns.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }

    pub(crate) async fn begun(&self, calls: usize) {
        until("calls have begun", async || self.probe.begun.load(Ordering::SeqCst) >= calls).await;
    }

    pub(crate) async fn ended(self) {
        timeout(WAIT_MAX, self.serving).await.unwrap().unwrap().unwrap();
    }
}
