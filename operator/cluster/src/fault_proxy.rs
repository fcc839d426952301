use std::{
    collections::BTreeMap,
    io,
    net::TcpListener as StdListener,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING},
};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Cluster, Right, background::Background};

/// What happens to a request instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status; nothing was done.
    Status(u16),
    /// 429 with Retry-After; nothing was done.
    TooManyRequests { retry_after_seconds: u32 },
    /// No answer, until the caller gives up; nothing was done.
    Hang,
    /// The connection ends without an answer; nothing was done.
    Close,
    /// The request was carried out, and the connection ends without an answer.
    LoseAnswer,
}

/// Which requests get a fault: the `first` (from 1) and those after it, `count` in all, of those with this verb on this resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub verb: String,
    /// `deployments` or `deployments/status`, of any group.
    pub resource: String,
    pub first: u64,
    pub count: u64,
    pub fault: Fault,
}

impl Rule {
    /// The next such request only.
    pub fn once(verb: &str, resource: &str, fault: Fault) -> Self {
        Self::nth(verb, resource, 1, fault)
    }

    /// The `first` such request from now on (from 1) only.
    pub fn nth(verb: &str, resource: &str, first: u64, fault: Fault) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), first, count: 1, fault }
    }
}

/// Between a client and the API server: passes everything on with the certificate of one user, watches included, but for the
/// faults of a plan. Its clients speak plain HTTP to 127.0.0.1 and need no credentials.
pub struct FaultProxy {
    port: u16,
    user: String,
    authority: Option<Vec<Vec<u8>>>,
    state: Arc<Mutex<State>>,
    _task: Background,
}

#[derive(Default)]
struct State {
    /// With the number of requests that each has matched.
    rules: Vec<(Rule, u64)>,
    given: Vec<(Right, Fault)>,
    seen: BTreeMap<Right, u64>,
}

impl FaultProxy {
    pub async fn start(cluster: &Cluster, user: &str, group: Option<&str>) -> anyhow::Result<Self> {
        let mut config = cluster.config(user, group).await?;
        // The API server's own answers are passed on as they are; retrying is the business of who asked.
        config.default_retry = false;
        let listener = StdListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let authority = config.root_cert.clone();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = Background::start("fault-proxy", move || async move {
            if let Err(error) = serve(listener, config, shared).await {
                eprintln!("the fault proxy has ended: {error}");
            }
        })?;
        Ok(Self { port, user: user.to_owned(), authority, state, _task: task })
    }

    /// A client that goes through the proxy. It retries nothing by itself, so that a fault reaches the caller.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(self.config()?)?)
    }

    /// Of [`Self::client`].
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::new(self.url().parse()?);
        config.default_retry = false;
        // Not asked for, but the machine's authorities would be looked for without.
        config.root_cert.clone_from(&self.authority);
        Ok(config)
    }

    /// Writes a kubeconfig that goes through the proxy.
    pub fn kubeconfig(&self, cluster: &Cluster) -> anyhow::Result<PathBuf> {
        let text = cluster.kubeconfig_without_user(&self.url());
        cluster.write_kubeconfig(&format!("{}-through-faults", self.user), &text)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Replaces the plan, and forgets what was given and seen.
    pub fn plan(&self, rules: impl IntoIterator<Item = Rule>) {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        *lock(&self.state) = State { rules, ..State::default() };
    }

    /// The faults that were given, in their order.
    pub fn given(&self) -> Vec<(Right, Fault)> {
        lock(&self.state).given.clone()
    }

    /// How often each right was used, faults included.
    pub fn seen(&self) -> BTreeMap<Right, u64> {
        lock(&self.state).seen.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Counts a request, and answers the fault that is its due: of several rules the first.
    fn fault(&mut self, right: Right) -> Option<Fault> {
        *self.seen.entry(right.clone()).or_default() += 1;
        let mut due = None;
        for (rule, matched) in &mut self.rules {
            if rule.verb == right.verb && rule.resource == right.resource {
                *matched += 1;
                if (rule.first..rule.first.saturating_add(rule.count)).contains(matched) {
                    due = due.or(Some(rule.fault));
                }
            }
        }
        if let Some(fault) = due {
            self.given.push((right, fault));
        }
        due
    }
}

async fn serve(listener: StdListener, config: Config, state: Arc<Mutex<State>>) -> anyhow::Result<()> {
    let upstream = Client::try_from(config)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (upstream, state) = (upstream.clone(), state.clone());
        let service = service_fn(move |request| answer(request, upstream.clone(), state.clone()));
        // An error is a client that went away, or a connection closed as planned.
        tokio::spawn(
            async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await },
        );
    }
}

/// An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    upstream: Client,
    state: Arc<Mutex<State>>,
) -> io::Result<Response<Body>> {
    let fault = Right::of(request.method(), request.uri()).and_then(|right| lock(&state).fault(right));
    match fault {
        None => forward(request, &upstream).await,
        Some(Fault::Status(code)) => refusal(code, None),
        Some(Fault::TooManyRequests { retry_after_seconds }) => refusal(429, Some(retry_after_seconds)),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Close) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::LoseAnswer) => {
            forward(request, &upstream).await?.into_body().collect().await.map_err(io::Error::other)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}

async fn forward(request: Request<Incoming>, upstream: &Client) -> io::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    // Those of one connection.
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let sent = upstream.send(Request::from_parts(parts, Body::from(body))).await;
    let mut response = sent.map_err(io::Error::other)?;
    response.headers_mut().remove(CONNECTION);
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response)
}

/// As the API server refuses: a Status object.
fn refusal(code: u16, retry_after_seconds: Option<u32>) -> io::Result<Response<Body>> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": "planned fault",
        "reason": reason,
        "code": code,
        "details": {"retryAfterSeconds": retry_after_seconds.unwrap_or_default()},
    });
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).map_err(io::Error::other)?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}
