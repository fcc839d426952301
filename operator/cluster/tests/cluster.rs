//! The harness itself: what it promises to the operator's tests is tested here, against the real servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use futures::TryStreamExt as _;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::Job,
        core::v1::{ConfigMap, Endpoints, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    core::GroupVersionKind,
    runtime::{
        conditions::{Condition, is_deployment_completed, is_job_completed},
        wait::await_condition,
    },
};
use openarchive_e2e::eventually;
use openarchive_operator_cluster::{
    Cluster, Fault, FaultProxy, Right, Rule,
    audit::{rights, writes},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(60);
const MASTERS: Option<&str> = Some("system:masters");

/// The shared cluster, the admin and a namespace for one test; `None`: skipped.
async fn cluster_with(namespace: &str) -> Option<(Cluster, Client)> {
    let cluster = Cluster::shared().await.unwrap()?;
    let admin = cluster.admin().await.unwrap();
    create::<Namespace>(&Api::all(admin.clone()), json!({"metadata": {"name": namespace}})).await;
    Some((cluster, admin))
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn until<K>(api: &Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + kube::Resource + Send + 'static,
{
    timeout(WAIT, await_condition(api.clone(), name, condition)).await.expect("waited in vain").unwrap()
}

fn pods_of(app: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    // A namespace that ends waits for half of the grace that its pods have (30 s unless said otherwise).
    spec["terminationGracePeriodSeconds"] = 1.into();
    json!({"metadata": {"labels": {"app": app}}, "spec": spec})
}

fn deployment(app: &str, replicas: u32) -> Value {
    let spec = json!({"containers": [{"name": "a", "image": "none"}], "initContainers": [{"name": "i", "image": "none"}]});
    json!({
        "metadata": {"name": app},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": pods_of(app, &spec)},
    })
}

fn job(app: &str) -> Value {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "none"}]});
    json!({"metadata": {"name": app}, "spec": {"backoffLimit": 0, "template": pods_of(app, &spec)}})
}

fn stateful_set(app: &str, replicas: u32) -> Value {
    let spec = json!({"containers": [{
        "name": "a",
        "image": "none",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }]});
    let resources = json!({"requests": {"storage": "1Gi"}});
    json!({
        "metadata": {"name": app},
        "spec": {
            "replicas": replicas,
            "serviceName": app,
            "selector": {"matchLabels": {"app": app}},
            "template": pods_of(app, &spec),
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources},
            }],
        },
    })
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn real_controllers_make_workloads_ready_and_take_them_down() {
    let Some((_cluster, admin)) = cluster_with("workloads").await else { return };
    let deployments = Api::<Deployment>::namespaced(admin.clone(), "workloads");
    create(&deployments, deployment("web", 2)).await;
    until(&deployments, "web", is_deployment_completed()).await;

    let jobs = Api::<Job>::namespaced(admin.clone(), "workloads");
    create(&jobs, job("once")).await;
    until(&jobs, "once", is_job_completed()).await;

    let sets = Api::<StatefulSet>::namespaced(admin.clone(), "workloads");
    create(&sets, stateful_set("store", 2)).await;
    let ready = |count: i32| {
        move |set: Option<&StatefulSet>| {
            let status = set.and_then(|set| set.status.as_ref());
            status.is_some_and(|s| s.ready_replicas.unwrap_or_default() == count && s.replicas == count)
        }
    };
    until(&sets, "store", ready(2)).await;
    let claims = Api::<PersistentVolumeClaim>::namespaced(admin.clone(), "workloads");
    let claim = claims.get("data-store-1").await.unwrap();
    assert_eq!(claim.status.unwrap().phase.unwrap(), "Bound");

    // Pods have addresses of their own, so that Services get endpoints.
    let services = Api::<Service>::namespaced(admin.clone(), "workloads");
    let ports = json!([{"port": 80}]);
    create(
        &services,
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}),
    )
    .await;
    let endpoints = Api::<Endpoints>::namespaced(admin.clone(), "workloads");
    let two = |endpoints: Option<&Endpoints>| {
        let subsets = endpoints.and_then(|e| e.subsets.clone()).unwrap_or_default();
        subsets.first().and_then(|subset| subset.addresses.as_ref()).is_some_and(|a| a.len() == 2)
    };
    until(&endpoints, "web", two).await;

    // A pod that is deleted ends, and the next one of its name is another.
    let pods = Api::<Pod>::namespaced(admin.clone(), "workloads");
    let first = pods.get("store-1").await.unwrap().metadata.uid;
    pods.delete("store-1", &DeleteParams::default()).await.unwrap();
    until(&pods, "store-1", |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.uid != first)).await;
    until(&sets, "store", ready(2)).await;

    // Volumes go with their claims, and a namespace can end.
    let volume = claim.spec.unwrap().volume_name.unwrap();
    Api::<Namespace>::all(admin.clone()).delete("workloads", &DeleteParams::default()).await.unwrap();
    until(&Api::<Namespace>::all(admin.clone()), "workloads", |n: Option<&Namespace>| n.is_none()).await;
    let volumes = Api::<PersistentVolume>::all(admin);
    until(&volumes, &volume, |volume: Option<&PersistentVolume>| volume.is_none()).await;
}

#[tokio::test]
async fn held_pods_stay_pending_and_failing_ones_fail_until_they_are_released() {
    let Some((cluster, admin)) = cluster_with("held").await else { return };
    let node = cluster.node().unwrap();
    let deployments = Api::<Deployment>::namespaced(admin.clone(), "held");
    let pods = Api::<Pod>::namespaced(admin.clone(), "held");
    node.hold("held", &[("app", "late")]);
    create(&deployments, deployment("late", 1)).await;
    let made =
        |d: Option<&Deployment>| d.and_then(|d| d.status.as_ref()).is_some_and(|s| s.replicas == Some(1));
    until(&deployments, "late", made).await;
    // What came later is ready first.
    create(&deployments, deployment("early", 1)).await;
    until(&deployments, "early", is_deployment_completed()).await;
    let late = pods.list(&ListParams::default().labels("app=late")).await.unwrap().items;
    assert_eq!(late.len(), 1);
    let status = late.first().and_then(|pod| pod.status.clone()).unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    node.release("held", &[("app", "late")]);
    until(&deployments, "late", is_deployment_completed()).await;

    // A crash takes the readiness of what runs already.
    let ready = |count: i32| {
        move |d: Option<&Deployment>| {
            d.and_then(|d| d.status.as_ref()).is_some_and(|s| s.ready_replicas.unwrap_or_default() == count)
        }
    };
    node.fail("held", &[("app", "late")]);
    until(&deployments, "late", ready(0)).await;
    node.release("held", &[("app", "late")]);
    until(&deployments, "late", ready(1)).await;

    node.fail("held", &[("app", "migrate")]);
    let jobs = Api::<Job>::namespaced(admin, "held");
    create(&jobs, job("migrate")).await;
    let failed = |job: Option<&Job>| {
        let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Failed" && c.status == "True"))
    };
    until(&jobs, "migrate", failed).await;
}

#[tokio::test]
async fn every_request_of_a_user_is_counted_once() {
    let Some((cluster, _)) = cluster_with("counted").await else { return };
    let log = cluster.requests();
    let client = cluster.client("counted-user", MASTERS).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "counted");
    let mark = log.mark().unwrap();
    create(&maps, config_map("a")).await;
    maps.get("a").await.unwrap();
    let apply = PatchParams::apply("counted-user");
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    maps.patch("a", &apply, &Patch::Apply(&object)).await.unwrap();
    // The same again changes nothing, and is a write nevertheless.
    maps.patch("a", &apply, &Patch::Apply(&object)).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let pods = Api::<Pod>::namespaced(client, "counted");
    let refused = pods.patch_status("none", &PatchParams::default(), &Patch::Merge(json!({}))).await;
    assert!(refused.is_err());
    let mut watch = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
    assert!(matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
    maps.delete("a", &DeleteParams::default()).await.unwrap();

    let requests = log.since(mark, "counted-user").unwrap();
    let seen: Vec<(&str, &str, &str, u16)> = requests
        .iter()
        .map(|r| (r.right.verb.as_str(), r.right.resource.as_str(), r.name.as_str(), r.code))
        .collect();
    assert_eq!(
        seen,
        [
            ("create", "configmaps", "a", 201),
            ("get", "configmaps", "a", 200),
            ("patch", "configmaps", "a", 200),
            ("patch", "configmaps", "a", 200),
            ("list", "configmaps", "", 200),
            ("patch", "pods/status", "none", 404),
            ("watch", "configmaps", "", 200),
            ("delete", "configmaps", "a", 200),
        ]
    );
    assert!(requests.iter().all(|request| request.namespace == "counted"));
    assert_eq!(writes(&requests), 5);
    assert_eq!(rights(&requests).len(), 7);

    let mark = log.mark().unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(writes(&log.since(mark, "counted-user").unwrap()), 0);
}

#[tokio::test]
async fn a_user_has_the_rights_that_are_bound_to_it_and_no_others() {
    let Some((cluster, admin)) = cluster_with("bound").await else { return };
    let user = "system:serviceaccount:bound:reader";
    let maps = Api::<ConfigMap>::namespaced(cluster.client(user, None).await.unwrap(), "bound");
    let log = cluster.requests();
    let mark = log.mark().unwrap();
    let refused = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    let refused = log.since(mark, user).unwrap();
    assert_eq!(refused.iter().map(|request| request.code).collect::<Vec<_>>(), [403]);

    let made =
        cluster.kubectl(&["-n", "bound", "create", "role", "r", "--verb=list", "--resource=configmaps"]);
    assert_eq!(made.unwrap().code, 0);
    let bind = ["-n", "bound", "create", "rolebinding", "r", "--role=r", "--serviceaccount=bound:reader"];
    assert_eq!(cluster.kubectl(&bind).unwrap().code, 0);
    // The authorizer watches bindings: they count some moments later.
    let listed = async {
        while maps.list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(WAIT, listed).await.unwrap();
    assert!(maps.get("a").await.is_err_and(|e| matches!(e, kube::Error::Api(status) if status.code == 403)));
    drop(admin);
}

#[tokio::test]
async fn a_definition_is_served_when_it_is_applied_and_its_rules_hold() {
    let Some((cluster, admin)) = cluster_with("defined").await else { return };
    let rules = json!([{"rule": "self.low <= self.high", "message": "low may not pass high"}]);
    let number = json!({"type": "integer"});
    let spec = json!({"type": "object", "properties": {"low": number, "high": number}, "x-kubernetes-validations": rules});
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ranges.cluster.test"},
        "spec": {
            "group": "cluster.test",
            "scope": "Namespaced",
            "names": {"plural": "ranges", "singular": "range", "kind": "Range"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    }))
    .unwrap();
    cluster.apply_crds(&[definition]).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.test", "v1", "Range"));
    let ranges = Api::<DynamicObject>::namespaced_with(admin, "defined", &kind);
    let range = |low: u32| {
        let object = json!({
            "apiVersion": "cluster.test/v1", "kind": "Range", "metadata": {"name": "a"}, "spec": {"low": low, "high": 2},
        });
        serde_json::from_value::<DynamicObject>(object).unwrap()
    };
    let refused = ranges.create(&PostParams::default(), &range(3)).await.unwrap_err();
    assert!(refused.to_string().contains("low may not pass high"), "{refused}");
    ranges.create(&PostParams::default(), &range(1)).await.unwrap();
}

#[tokio::test]
async fn faults_come_exactly_as_planned_and_watches_pass() {
    let Some((cluster, admin)) = cluster_with("faulty").await else { return };
    let direct = Api::<ConfigMap>::namespaced(admin, "faulty");
    let proxy = FaultProxy::start(&cluster, "faulty-user", MASTERS).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(proxy.client().unwrap(), "faulty");
    let make = async |name: &str| {
        maps.create(&PostParams::default(), &serde_json::from_value(config_map(name)).unwrap()).await
    };
    let code = |result: Result<ConfigMap, kube::Error>| match result {
        Ok(_) => 0,
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 1,
    };

    let mut watch = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
    proxy.plan([
        Rule { count: 2, ..Rule::nth("create", "configmaps", 2, Fault::Status(409)) },
        Rule::nth("create", "configmaps", 5, Fault::Close),
        Rule { count: 9, ..Rule::once("create", "secrets", Fault::Status(500)) },
    ]);
    let mut codes = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        codes.push(code(make(name).await));
    }
    assert_eq!(codes, [0, 409, 409, 0, 1, 0]);
    let create = Right::new("", "configmaps", "create");
    let status = Fault::Status(409);
    let given = [(create.clone(), status), (create.clone(), status), (create.clone(), Fault::Close)];
    assert_eq!(proxy.given(), given);
    assert_eq!(proxy.seen().get(&create), Some(&6));

    // The watch that began before saw what was done, and nothing of what was not.
    let mut added = Vec::new();
    while added.last().is_none_or(|name| name != "f") {
        let event = timeout(WAIT, watch.try_next()).await.unwrap().unwrap().unwrap();
        if let WatchEvent::Added(map) = event {
            added.extend(map.metadata.name.filter(|name| name.len() == 1));
        }
    }
    assert_eq!(added, ["a", "d", "f"]);

    proxy.plan([Rule::once("create", "configmaps", Fault::LoseAnswer)]);
    assert_eq!(code(make("lost").await), 1);
    assert!(direct.get_opt("lost").await.unwrap().is_some());

    proxy.plan([Rule::once("create", "configmaps", Fault::TooManyRequests { retry_after_seconds: 7 })]);
    let Err(kube::Error::Api(refused)) = make("refused").await else { panic!("it was not refused") };
    assert_eq!((refused.code, refused.details.unwrap().retry_after_seconds), (429, 7));

    proxy.plan([Rule::once("create", "configmaps", Fault::Hang)]);
    assert!(timeout(Duration::from_millis(300), make("hanging")).await.is_err());
    assert!(direct.get_opt("hanging").await.unwrap().is_none());
    assert_eq!(code(make("hanging").await), 0);

    proxy.plan([Rule::once("watch", "configmaps", Fault::Status(500))]);
    assert!(maps.watch(&WatchParams::default(), "0").await.is_err());

    // A program of its own goes through it by a kubeconfig.
    let path = proxy.kubeconfig(&cluster).unwrap();
    proxy.plan([]);
    let through =
        cluster.kubectl(&["--kubeconfig", path.to_str().unwrap(), "-n", "faulty", "get", "cm", "a"]).unwrap();
    assert_eq!(through.code, 0, "{}", through.stderr);
    assert_eq!(proxy.seen().get(&Right::new("", "configmaps", "get")), Some(&1));
}

const CHILD: &str = "OPENARCHIVE_TEST_KILLED_CLUSTER";

#[tokio::test]
async fn a_killed_test_leaves_no_process_and_no_folder() {
    if let Some(told) = std::env::var_os(CHILD) {
        // In the child: says where its cluster is, and waits to be killed.
        let cluster = Cluster::start().await.unwrap().unwrap();
        fs::write(told, cluster.folder().to_str().unwrap()).unwrap();
        std::future::pending::<()>().await;
    }
    let Some(_cluster) = Cluster::shared().await.unwrap() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let told = scratch.path().join("folder");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_test_leaves_no_process_and_no_folder"])
        .env(CHILD, &told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let folder = eventually("the child's cluster runs", 120, || {
        let folder = PathBuf::from(fs::read_to_string(&told).ok()?);
        folder.is_dir().then_some(folder)
    });
    assert_eq!(processes_in(&folder), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("its servers are gone", 30, || (processes_in(&folder) == 0).then_some(()));
    eventually("its folder is gone", 30, || (!folder.exists()).then_some(()));
}

/// Processes whose working folder it is.
fn processes_in(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
        .filter(|cwd| cwd.to_str().is_some_and(|cwd| cwd.trim_end_matches(" (deleted)") == folder))
        .count()
}
