//! P16: ten thousand custom resources before a real API server, and `openarchive-operator run` as its own process. Prints one
//! JSON object; bench/RESULTS.md keeps what was seen.
//!
//! No pod runs, so no archive answers: what is measured is the operator's own work.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use openarchive_e2e::{http_get, program};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, RetentionPolicy, crds};
use openarchive_operator_cluster::Cluster;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::sleep;

const USER: &str = "operator-under-test";
/// An argument that is a number divides the number of agents and policies, for a first look.
struct Size {
    agents: usize,
    policies: usize,
}

const ARCHIVES: usize = 20;
const AGENTS: usize = 4_980;
const POLICIES: usize = 5_000;

impl Size {
    fn of_arguments() -> Self {
        let share = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(1);
        Self { agents: AGENTS / share, policies: POLICIES / share }
    }

    fn all(&self) -> usize {
        ARCHIVES + self.agents + self.policies
    }
}

const DRIFTS: usize = 20;
/// Requests at a time while the objects are made.
const CREATORS: usize = 16;
/// The operator has come to rest when it has made no pass and no write for so long.
const REST: Duration = Duration::from_secs(8);
const WAIT_MAX: Duration = Duration::from_secs(1_800);

struct Operator {
    process: Child,
    admin: u16,
    started: Instant,
}

impl Operator {
    fn start(cluster: &Cluster, folder: &Path) -> Self {
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("operator.log")).unwrap();
        let process = Command::new(program("openarchive-operator"))
            .args(["run", "--operator-namespace", "default", "--admin"])
            .arg(format!("127.0.0.1:{admin}"))
            .arg("--folder")
            .arg(folder.join("keys"))
            .env("KUBECONFIG", cluster.kubeconfig(USER, Some("system:masters")).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, admin, started: Instant::now() }
    }

    async fn until_ready(&self) -> Duration {
        while !http_get(self.admin, "/readyz").is_some_and(|answer| answer.contains(" 200 ")) {
            assert!(self.started.elapsed() < WAIT_MAX, "the operator is not ready");
            sleep(Duration::from_millis(20)).await;
        }
        self.started.elapsed()
    }

    /// Passes since its start, by kind.
    fn passes(&self) -> BTreeMap<String, u64> {
        let text = http_get(self.admin, "/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("openarchive_operator_reconcile_total{"));
        let mut passes = BTreeMap::new();
        for line in lines {
            let kind =
                line.split("kind=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            let number = line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
            *passes.entry(kind.to_owned()).or_default() += number as u64;
        }
        passes
    }

    /// Waits until every object had a pass and nothing happens any more; answers when the last thing happened.
    async fn until_at_rest(&self, objects: usize) -> Duration {
        let mut last = (self.passes(), Instant::now());
        loop {
            let passes = self.passes();
            if passes != last.0 {
                last = (passes, Instant::now());
            }
            if last.0.values().sum::<u64>() as usize >= objects && last.1.elapsed() > REST {
                return last.1 - self.started;
            }
            assert!(self.started.elapsed() < WAIT_MAX, "the operator does not come to rest: {:?}", last.0);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Bytes: now, and at most since its start.
    fn resident(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

async fn create<K>(client: &Client, objects: Vec<(usize, Value)>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let made = stream::iter(objects).map(|(archive, object)| async move {
        let api: Api<K> = Api::namespaced(client.clone(), &format!("site-{archive}"));
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    });
    made.buffer_unordered(CREATORS).for_each(|()| async {}).await;
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "openarchive.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

async fn populate(client: &Client, size: &Size) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for archive in 0..ARCHIVES {
        let metadata = ObjectMeta { name: Some(format!("site-{archive}")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    let archives = (0..ARCHIVES).map(|number| {
        let spec = json!({
            "domain": "archive.example.org",
            "tenants": [{"name": "acme", "domains": ["acme.example"]}],
            "profile": "Standalone",
            "version": "0.1.0",
            "retention": {"default": "10y-received-forbidden"},
            "exposure": {"ingest": {
                "type": "LoadBalancer", "hostnames": ["in.archive.example.org"], "allowedCIDRs": ["192.0.2.0/24"],
            }},
        });
        (number, object("ArchiveCore", "main", &spec))
    });
    create::<ArchiveCore>(client, archives.collect()).await;
    let agents = (0..size.agents).map(|number| {
        let spec = json!({"archiveRef": {"name": "main"}, "tenant": "acme", "placement": "External"});
        (number % ARCHIVES, object("EdgeAgent", &format!("agent-{number}"), &spec))
    });
    create::<EdgeAgent>(client, agents.collect()).await;
    let policies = (0..size.policies).map(|number| {
        let spec = json!({
            "archiveRef": {"name": "main"},
            "match": {"mailboxes": [format!("box-{number}@acme.example")], "direction": "Any"},
            "keepFor": {"years": 10},
            "startFrom": "Received",
            "erasure": "Forbidden",
            "locked": false,
        });
        (number % ARCHIVES, object("RetentionPolicy", &format!("policy-{number}"), &spec))
    });
    create::<RetentionPolicy>(client, policies.collect()).await;
}

/// From a foreign write of a Service to its being as built again.
async fn drift(client: &Client, number: usize) -> Duration {
    let api: Api<Service> = Api::namespaced(client.clone(), &format!("site-{}", number % ARCHIVES));
    let before = api.get("main-all").await.unwrap().spec.unwrap().selector;
    let patch = json!({"spec": {"selector": {"app.kubernetes.io/component": "somebody-else"}}});
    let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    api.patch("main-all", &parameters, &Patch::Merge(&patch)).await.unwrap();
    let written = Instant::now();
    while api.get("main-all").await.unwrap().spec.unwrap().selector != before {
        assert!(written.elapsed() < WAIT_MAX, "drift is not corrected");
        sleep(Duration::from_millis(5)).await;
    }
    written.elapsed()
}

#[tokio::main]
async fn main() {
    let cluster = Cluster::start().await.unwrap().unwrap();
    cluster.apply_crds(&crds()).await.unwrap();
    let client = cluster.admin().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let size = Size::of_arguments();
    populate(&client, &size).await;
    eprintln!("{} objects are made", size.all());

    let first = Operator::start(&cluster, folder.path());
    let first_ready = first.until_ready().await;
    let first_rest = first.until_at_rest(size.all()).await;
    let first_resident = first.resident();
    drop(first);
    eprintln!("the first operator came to rest after {first_rest:?}");

    let mark = cluster.requests().mark().unwrap();
    let second = Operator::start(&cluster, folder.path());
    let ready = second.until_ready().await;
    let rest = second.until_at_rest(size.all()).await;
    let requests = cluster.requests().since(mark, USER).unwrap();
    let writes: Vec<_> = requests.iter().filter(|request| request.right.writes()).collect();
    let resident = second.resident();
    let passes = second.passes();

    let mut drifts = Vec::new();
    for number in 0..DRIFTS {
        drifts.push(drift(&client, number).await);
    }
    drifts.sort();
    let megabytes = |bytes: u64| bytes / 1_000_000;
    println!(
        "{:#}",
        json!({
            "objects": size.all(),
            "firstOperator": {
                "readySeconds": first_ready.as_secs_f64(),
                "restSeconds": first_rest.as_secs_f64(),
                "residentMegabytes": megabytes(first_resident.0),
                "peakMegabytes": megabytes(first_resident.1),
            },
            "secondOperator": {
                "coldStartSeconds": ready.as_secs_f64(),
                "restSeconds": rest.as_secs_f64(),
                "passes": passes,
                "requests": requests.len(),
                "writes": writes.len(),
                "firstWrites": writes.iter().take(5).map(|one| format!("{one:?}")).collect::<Vec<_>>(),
                "residentMegabytes": megabytes(resident.0),
                "peakMegabytes": megabytes(resident.1),
            },
            "driftMilliseconds": {
                "median": drifts[drifts.len() / 2].as_millis(),
                "worst": drifts[drifts.len() - 1].as_millis(),
            },
        })
    );
}
