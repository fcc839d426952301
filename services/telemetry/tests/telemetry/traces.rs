use std::sync::Arc;

use openarchive_proto::worker::v1::{
    ListJobsRequest, ListJobsResponse, ReindexRequest, ReindexResponse, RetryJobRequest, RetryJobResponse,
    worker_service_client::WorkerServiceClient,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use openarchive_rpc::{PeerIdentity, Role, RpcChannel, in_process_as};
use openarchive_telemetry::{
    LogFormat, TelemetryConfig, TelemetryGuard, batch_span, build, job_span, metrics, propagation, work_span,
};
use tonic::{Code, Request, Response, Status};
use tracing::{Dispatch, Instrument as _, info};

use crate::{
    captured::Captured,
    sink::{SeenSpan, Sink},
};

/// A service whose `Reindex` asks another for its jobs first. `RetryJob` fails.
struct Passing(Option<RpcChannel>);

#[tonic::async_trait]
impl WorkerService for Passing {
    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        info!("the second service is asked");
        Ok(Response::new(ListJobsResponse::default()))
    }

    async fn retry_job(&self, _: Request<RetryJobRequest>) -> Result<Response<RetryJobResponse>, Status> {
        Err(Status::internal("it fails"))
    }

    async fn reindex(&self, _: Request<ReindexRequest>) -> Result<Response<ReindexResponse>, Status> {
        let next = self.0.clone().ok_or_else(|| Status::unavailable("nobody is behind this"))?;
        // A task of its own, as services have them.
        let asked = async move { WorkerServiceClient::new(next).list_jobs(ListJobsRequest::default()).await };
        tokio::spawn(asked.in_current_span())
            .await
            .map_err(|_| Status::internal("the task ended badly"))??;
        Ok(Response::new(ReindexResponse::default()))
    }
}

struct Site {
    sink: Sink,
    log: Captured,
    dispatch: Dispatch,
    guard: Arc<TelemetryGuard>,
}

impl Site {
    fn new(change: impl FnOnce(&mut TelemetryConfig)) -> Self {
        let sink = Sink::start();
        let log = Captured::default();
        let mut config = TelemetryConfig::new("test");
        config.format = LogFormat::Json;
        config.otlp_endpoint = Some(sink.endpoint());
        change(&mut config);
        let (dispatch, guard) = build(&config, log.clone(), false).unwrap();
        Self { sink, log, dispatch, guard: Arc::new(guard) }
    }

    /// Spans that have ended so far, as the collector has them.
    async fn spans(&self) -> Vec<SeenSpan> {
        let guard = self.guard.clone();
        assert!(tokio::task::spawn_blocking(move || guard.flush()).await.unwrap());
        self.sink.spans()
    }
}

fn two_services() -> WorkerServiceClient<RpcChannel> {
    let second = in_process_as(Role::Gateway, WorkerServiceServer::new(Passing(None)));
    let first = in_process_as(Role::Gateway, WorkerServiceServer::new(Passing(Some(second))));
    WorkerServiceClient::new(first)
}

fn find<'s>(spans: &'s [SeenSpan], name: &str) -> &'s SeenSpan {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn role(span: &SeenSpan) -> &str {
    span.attributes.get("role").map_or("", String::as_str)
}

const REINDEX: &str = "openarchive.worker.v1.WorkerService/Reindex";
const LIST_JOBS: &str = "openarchive.worker.v1.WorkerService/ListJobs";
const RETRY_JOB: &str = "openarchive.worker.v1.WorkerService/RetryJob";

#[tokio::test]
async fn a_trace_and_a_request_id_go_through_two_services_and_into_their_log_lines() {
    let site = Site::new(|_| {});
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    let mut client = two_services();
    let span = work_span("agent", "sync");
    let mut request = Request::new(ReindexRequest { tenant: "secret-tenant".into() });
    request.metadata_mut().insert("x-request-id", "request-7".parse().unwrap());
    client.reindex(request).instrument(span.clone()).await.unwrap();
    drop(span);

    let spans = site.spans().await;
    let (begin, first, second) = (find(&spans, "sync"), find(&spans, REINDEX), find(&spans, LIST_JOBS));
    assert_eq!(spans.len(), 3, "no span of a library is sent: {spans:#?}");
    assert_eq!((begin.parent.as_str(), role(begin)), ("", "agent"));
    assert_eq!((&first.parent, role(first)), (&begin.span_id, "worker"));
    assert_eq!((&second.parent, role(second)), (&first.span_id, "worker"));
    assert!(spans.iter().all(|span| span.trace_id == begin.trace_id && span.service == "openarchive-test"));
    for call in [first, second] {
        let of = |name: &str| call.attributes.get(name).map(String::as_str);
        assert_eq!(of("request_id"), Some("request-7"));
        assert_eq!(of("caller"), Some("gateway"));
        assert_eq!(of("code"), Some("OK"));
        assert!(of("duration_ms").unwrap().parse::<u64>().is_ok());
        assert!(!format!("{call:?}").contains("secret-tenant"), "{call:?}");
    }
    let lines = site.log.objects();
    let line = lines.iter().find(|line| line["message"] == "the second service is asked").unwrap();
    assert_eq!(line["request_id"], "request-7");
    assert_eq!(line["trace_id"], begin.trace_id.as_str());
    assert_eq!(line["role"], "test");
}

#[tokio::test]
async fn a_failed_call_and_a_refused_call_have_their_codes_and_are_counted() {
    let site = Site::new(|_| {});
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    let failed = || metrics::GRPC_CALLS.value([RETRY_JOB, "INTERNAL"]);
    let refusals = || metrics::AUTHORISATION_REFUSALS.value([REINDEX, "trust"]);
    let before = (failed(), refusals());
    let status = two_services().retry_job(RetryJobRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let stranger = in_process_as(PeerIdentity::Service(Role::Trust), WorkerServiceServer::new(Passing(None)));
    let status = WorkerServiceClient::new(stranger).reindex(ReindexRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let spans = site.spans().await;
    let (failure, refusal) = (find(&spans, RETRY_JOB), find(&spans, REINDEX));
    assert_eq!(failure.attributes["code"], "INTERNAL");
    assert_eq!(
        (&*refusal.attributes["code"], &*refusal.attributes["caller"]),
        ("PERMISSION_DENIED", "trust")
    );
    assert_ne!(failure.trace_id, refusal.trace_id);
    assert_eq!((failed(), refusals()), (before.0 + 1, before.1 + 1));
    let exposed = metrics::render();
    assert!(
        exposed.contains(&format!("openarchive_grpc_call_seconds_count{{method=\"{RETRY_JOB}\"}}")),
        "{exposed}"
    );
}

#[tokio::test]
async fn a_job_goes_on_in_the_trace_of_the_request_that_made_it() {
    let site = Site::new(|_| {});
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    let commit = |name| work_span("ingest", name).in_scope(|| propagation::traceparent().unwrap());
    let (one, other) = (commit("one"), commit("other"));
    job_span("index", Some(&one)).in_scope(|| info!("the job runs"));
    job_span("lone", None).in_scope(|| info!("the lone job runs"));
    job_span("strange", Some("no traceparent")).in_scope(|| {});
    batch_span("feed", [None, Some(one.as_str()), Some(other.as_str())]).in_scope(|| {});

    let spans = site.spans().await;
    let (begin, job, lone) = (find(&spans, "one"), find(&spans, "index"), find(&spans, "lone"));
    assert_eq!((&job.trace_id, &job.parent), (&begin.trace_id, &begin.span_id));
    assert_eq!(lone.parent, "");
    assert_ne!(lone.trace_id, begin.trace_id);
    assert_eq!(find(&spans, "strange").parent, "");
    let feed = find(&spans, "feed");
    assert_eq!((&feed.trace_id, &feed.parent), (&begin.trace_id, &begin.span_id));
    assert_eq!(feed.links, [find(&spans, "other").trace_id.clone()]);
    let lines = site.log.objects();
    assert_eq!(lines[0]["trace_id"], begin.trace_id.as_str());
    assert_eq!(lines[1]["trace_id"], lone.trace_id.as_str());
}

#[tokio::test]
async fn with_no_share_nothing_is_sent_and_ids_stand_in_the_log_all_the_same() {
    let site = Site::new(|config| config.sample_ratio = 0.0);
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    two_services().reindex(ReindexRequest::default()).await.unwrap();
    assert!(site.spans().await.is_empty());
    let lines = site.log.objects();
    let line = lines.iter().find(|line| line["message"] == "the second service is asked").unwrap();
    assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_callers_decision_to_send_is_followed() {
    let site = Site::new(|config| config.sample_ratio = 0.0);
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    let mut request = Request::new(ListJobsRequest::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    two_services().list_jobs(request).await.unwrap();
    let spans = site.spans().await;
    let call = find(&spans, LIST_JOBS);
    assert_eq!((&*call.trace_id, &*call.parent), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    // Bound, then let go: nobody listens there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::new(|config| config.otlp_endpoint = Some(format!("http://{gone}")));
    let _scope = tracing::dispatcher::set_default(&site.dispatch);
    two_services().reindex(ReindexRequest::default()).await.unwrap();
    let guard = site.guard.clone();
    assert!(!tokio::task::spawn_blocking(move || guard.flush()).await.unwrap());
}
