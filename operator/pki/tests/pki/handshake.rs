//! Real calls over mutual TLS, through the server and client code of the services, while the authority is exchanged.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use openarchive_domain::{Clock as _, SystemClock};
use openarchive_operator_pki::{
    Identity, LeafSpec, Phase, SECRETS_LOADED_SECONDS_MIN, SecretData, Transition,
};
use openarchive_proto::worker::v1::{
    ListJobsRequest, ListJobsResponse, ReindexRequest, ReindexResponse, RetryJobRequest, RetryJobResponse,
    worker_service_client::WorkerServiceClient,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use openarchive_rpc::{
    Authorise, ClientCertificates, Pace, PeerIdentity, ReloadingTls, Role, RpcChannel, ServerTls,
    TLS_CHECK_SECONDS, TlsFiles, connect, serve, server_builder,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{Code, Request, Response, Status};

use crate::world::{World, spec};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// Says whom it saw.
struct Probe;

#[tonic::async_trait]
impl WorkerService for Probe {
    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        assert_eq!(PeerIdentity::of(&request), PeerIdentity::Service(Role::Gateway));
        Ok(Response::new(ListJobsResponse::default()))
    }

    async fn retry_job(&self, _: Request<RetryJobRequest>) -> Result<Response<RetryJobResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn reindex(&self, _: Request<ReindexRequest>) -> Result<Response<ReindexResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

/// A Secret as a kubelet mounts it: all files change at once, by one link.
struct Mount {
    folder: TempDir,
    version: AtomicUsize,
}

impl Mount {
    fn new(secret: &SecretData) -> Self {
        let mount = Self { folder: tempfile::tempdir().unwrap(), version: AtomicUsize::new(0) };
        for name in secret.keys() {
            symlink(Path::new("..data").join(name), mount.folder.path().join(name)).unwrap();
        }
        mount.write(secret);
        mount
    }

    fn write(&self, secret: &SecretData) {
        let version = format!("..{}", self.version.fetch_add(1, Ordering::SeqCst));
        let folder = self.folder.path().join(&version);
        fs::create_dir(&folder).unwrap();
        for (name, bytes) in secret {
            fs::write(folder.join(name), bytes).unwrap();
        }
        let link = self.folder.path().join("..next");
        symlink(version, &link).unwrap();
        fs::rename(link, self.folder.path().join("..data")).unwrap();
    }

    fn load(&self) -> Arc<ReloadingTls> {
        let file = |name| self.folder.path().join(name);
        let files =
            TlsFiles { certificate: file("tls.crt"), key: file("tls.key"), authorities: file("ca.crt") };
        ReloadingTls::load(&files).unwrap()
    }
}

fn client(port: u16, mount: &Mount) -> WorkerServiceClient<RpcChannel> {
    let target = format!("localhost:{port}").parse().unwrap();
    WorkerServiceClient::new(connect(&[target], mount.load(), Pace::NEAR))
}

/// Calls until every connection has been made anew with the files of now; none may fail.
async fn calls_go_on(client: &mut WorkerServiceClient<RpcChannel>, calls: &AtomicUsize) {
    let (begun, before) = (Instant::now(), calls.load(Ordering::SeqCst));
    let patience = Duration::from_millis(TLS_CHECK_SECONDS * 1000 + 300);
    while begun.elapsed() < patience || calls.load(Ordering::SeqCst) < before + 20 {
        let answer = timeout(WAIT_MAX, client.list_jobs(ListJobsRequest::default())).await;
        answer.expect("a call gets no answer").unwrap();
        calls.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_all_three_steps_of_an_exchange_no_call_fails_whoever_reads_his_files_first() {
    let mut world = World::new(&[Role::Gateway]);
    world.now = SystemClock.now();
    world.specs = vec![
        spec(Role::Gateway),
        LeafSpec::new("worker", Identity::Service(Role::Worker), ["localhost"]).unwrap(),
    ];
    world.whole_pass();
    let secret = |world: &World, name: &str| world.found.leaves[name].clone();
    let (server, caller) = (Mount::new(&secret(&world, "worker")), Mount::new(&secret(&world, "gateway")));
    let first = Mount::new(&secret(&world, "gateway"));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = ServerTls { files: server.load(), clients: ClientCertificates::Required };
    let (stop, stopped) = watch::channel(false);
    // A short age stands for the passing of time.
    let router = server_builder()
        .max_connection_age(Duration::from_millis(150))
        .layer(Authorise::by_certificate("archive.example"))
        .add_service(WorkerServiceServer::new(Probe));
    let serving = tokio::spawn(serve(listener, router, tls, stopped));
    let (mut calls, count) = (client(port, &caller), AtomicUsize::new(0));
    calls_go_on(&mut calls, &count).await;

    world.request = Some("now".to_owned());
    let settle = i64::from(SECRETS_LOADED_SECONDS_MIN) * 1000;
    for (number, phase) in [Phase::TrustNew, Phase::ReIssue, Phase::DropOld].into_iter().enumerate() {
        world.whole_pass();
        assert_eq!(world.phase(), phase);
        let mut order = [(&server, "worker"), (&caller, "gateway")];
        order.rotate_left(number % 2);
        for (mount, name) in order {
            mount.write(&secret(&world, name));
            calls_go_on(&mut calls, &count).await;
        }
        // The operator's clock alone: certificates begin an hour before it.
        world.now = crate::world::after(world.now, settle);
    }
    world.whole_pass();
    assert_eq!(world.phase(), Phase::Stable);
    assert_eq!(world.transitions.last(), Some(&Transition::Finish));
    calls_go_on(&mut calls, &count).await;

    // Who read nothing since the beginning is refused now: the old authority is really gone.
    let refused = client(port, &first).list_jobs(ListJobsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("UnknownCA"), "{refused}");
    stop.send(true).unwrap();
    drop((calls, caller));
    timeout(WAIT_MAX, serving).await.unwrap().unwrap().unwrap();
}
