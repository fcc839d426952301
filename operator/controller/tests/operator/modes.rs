//! What an object says of itself: kstatus and `kubectl wait` for each kind and phase, and a NetworkPolicySet in both modes.

use std::fmt::Debug;

use k8s_openapi::api::{core::v1::Service, networking::v1::NetworkPolicy};
use kube::{
    Resource,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::wait::Condition,
};
use openarchive_operator_api::{
    ArchiveCore, EdgeAgent, NetworkPolicySet, NetworkPolicySetStatus, RetentionPolicy,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    kstatus::Standing,
    life::{agent, enforced, network_policy_set, retention_policy},
    support::{Site, has, is, names, site, standalone},
};

async fn status_of_set(site: &Site, name: &str) -> NetworkPolicySetStatus {
    site.api::<NetworkPolicySet>().get(name).await.unwrap().status.unwrap()
}

/// Name and hash of each policy that the set speaks of.
fn hashes(status: &NetworkPolicySetStatus) -> Vec<(String, String)> {
    status.policies.iter().map(|policy| (policy.name.clone(), policy.sha256.clone())).collect()
}

fn audited(set: Option<&NetworkPolicySet>) -> bool {
    let is_current = set.is_some_and(|set| {
        set.metadata.generation == set.status.as_ref().and_then(|status| status.observed_generation)
    });
    let status = set.and_then(|set| set.status.as_ref());
    is_current
        && status.is_some_and(|status| {
            !status.policies.is_empty() && status.policies.iter().all(|policy| policy.uid.is_none())
        })
}

#[tokio::test]
async fn mode_audit_writes_nothing_and_says_what_enforce_then_writes() {
    let Some(site) = site("audit").await else { return };
    let site = site.with_operator().await;
    let writes = |site: &Site, mark| {
        let writes = site.writes_since(mark).into_iter();
        writes.filter(|request| request.right.resource == "networkpolicies").collect::<Vec<_>>()
    };
    let set = |mode: &str| network_policy_set("written", "main", mode);
    site.apply::<NetworkPolicySet>(set("Audit")).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.until::<NetworkPolicySet>("written", "says what it would write", audited).await;
    site.quiet().await;
    assert_eq!(writes(&site, site.begun), [], "mode Audit writes");
    assert_eq!(names::<NetworkPolicy>(&site, "main").await, [""; 0]);
    let audit = status_of_set(&site, "written").await;
    assert!(audit.policies.iter().all(|one| one.resource_version.is_none() && one.applied_at.is_none()));
    assert_eq!(site.standing::<NetworkPolicySet>("written").await, Standing::Current);
    // Nothing protects the pods; the operator looks at the set for whatever reason.
    let again = Patch::Merge(json!({"metadata": {"labels": {"look": "again"}}}));
    site.api::<NetworkPolicySet>().patch("written", &PatchParams::default(), &again).await.unwrap();
    site.until::<NetworkPolicySet>("written", "names the pods", |set: Option<&NetworkPolicySet>| {
        let status = set.and_then(|set| set.status.as_ref());
        status.is_some_and(|status| status.uncovered_pods.contains(&"main-all-0".to_owned()))
    })
    .await;

    site.apply::<NetworkPolicySet>(set("Enforce")).await;
    site.until::<NetworkPolicySet>("written", "enforces", enforced).await;
    let enforce = status_of_set(&site, "written").await;
    assert_eq!(enforce.uncovered_pods, [""; 0]);
    assert_eq!(hashes(&enforce), hashes(&audit), "what was announced is what is written");
    assert_eq!(enforce.graph_hash, audit.graph_hash);
    let mut announced: Vec<_> = audit.policies.iter().map(|policy| policy.name.clone()).collect();
    announced.sort();
    assert_eq!(names::<NetworkPolicy>(&site, "main").await, announced);

    // Back again: what stands stays as it is, and whatever becomes of it is left alone.
    site.apply::<NetworkPolicySet>(set("Audit")).await;
    site.until::<NetworkPolicySet>("written", "only tells", audited).await;
    let mark = site.quiet().await;
    let policies = site.api::<NetworkPolicy>();
    let alien = PatchParams { field_manager: Some("an-alien".to_owned()), ..PatchParams::default() };
    let open = json!({"spec": {"ingress": [{}]}});
    policies.patch("main-all", &alien, &Patch::Merge(&open)).await.unwrap();
    policies.delete("main-default-deny", &DeleteParams::default()).await.unwrap();
    site.seen(mark, "networkpolicies", "list").await;
    site.quiet().await;
    assert_eq!(writes(&site, mark), [], "mode Audit writes");
    let now = policies.get("main-all").await.unwrap().spec.unwrap().ingress.unwrap();
    assert!(now[0].from.is_none(), "somebody's change is left alone");
    assert!(policies.get_opt("main-default-deny").await.unwrap().is_none());

    site.apply::<NetworkPolicySet>(set("Enforce")).await;
    site.until::<NetworkPolicy>("main-default-deny", "is back", |one: Option<&NetworkPolicy>| one.is_some())
        .await;
    site.until::<NetworkPolicySet>("written", "enforces again", enforced).await;
    let now = policies.get("main-all").await.unwrap().spec.unwrap().ingress.unwrap();
    assert!(now.iter().all(|rule| rule.from.is_some()), "the opened rule stands: {now:?}");
}

#[tokio::test]
async fn an_archive_stands_as_kstatus_and_kubectl_wait_read_it_in_each_phase() {
    let Some(site) = site("phases").await else { return };
    let standing = async |site: &Site| site.standing::<ArchiveCore>("main").await;
    let wait = ["wait", "--for=condition=Ready", "archivecore/main"];
    let waited = async |site: &Site, timeout: &str| {
        let timeout = format!("--timeout={timeout}");
        site.kubectl(&[&wait[..], &[timeout.as_str()]].concat()).await.code == 0
    };
    // Nobody has looked at it yet: nobody may take it for finished.
    site.apply::<ArchiveCore>(standalone("main")).await;
    assert_eq!(standing(&site).await, Standing::InProgress);

    let all = [("app.kubernetes.io/component", "all")];
    site.cluster.node().unwrap().hold(&site.namespace, &all);
    let mut site = site.with_operator().await;
    site.until::<ArchiveCore>("main", "is on its way", is("Reconciling", "True", "RolloutPending")).await;
    assert_eq!(standing(&site).await, Standing::InProgress);
    assert!(!waited(&site, "1s").await);
    site.cluster.node().unwrap().release(&site.namespace, &all);
    assert!(waited(&site, "60s").await);
    assert_eq!(standing(&site).await, Standing::Current);

    for name in ["one", "other"] {
        site.apply::<NetworkPolicySet>(network_policy_set(name, "main", "Enforce")).await;
    }
    site.until::<ArchiveCore>("main", "cannot be", is("Stalled", "True", "InvalidSpec")).await;
    assert_eq!(standing(&site).await, Standing::Failed);
    assert!(!waited(&site, "1s").await);
    for name in ["one", "other"] {
        site.api::<NetworkPolicySet>().delete(name, &DeleteParams::default()).await.unwrap();
    }
    assert!(waited(&site, "60s").await);
    assert_eq!(standing(&site).await, Standing::Current);

    let mut paused = standalone("main");
    paused["spec"]["operation"] = json!({"paused": true});
    site.apply::<ArchiveCore>(paused.clone()).await;
    site.until::<ArchiveCore>("main", "is paused", is("Ready", "Unknown", "Paused")).await;
    assert_eq!(standing(&site).await, Standing::InProgress);
    assert!(!waited(&site, "1s").await);
    paused["spec"]["operation"] = json!({"stopped": true});
    site.apply::<ArchiveCore>(paused).await;
    site.until::<ArchiveCore>("main", "is stopped", is("Ready", "True", "Stopped")).await;
    assert_eq!(standing(&site).await, Standing::Current);
    assert!(waited(&site, "60s").await);

    // A change that no operator has seen: Ready is still true, of an earlier generation.
    site.stop().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    let now = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert!(is("Ready", "True", "").matches_object(Some(&now)), "{:?}", now.status);
    assert_eq!(standing(&site).await, Standing::InProgress);
    assert!(!waited(&site, "1s").await);

    let held = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let merge = async |patch: Value| {
        site.api::<ArchiveCore>()
            .patch("main", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    };
    merge(held(json!(["test/held"]))).await;
    site.api::<ArchiveCore>().delete("main", &DeleteParams::default()).await.unwrap();
    assert_eq!(standing(&site).await, Standing::Terminating);
    merge(held(json!([]))).await;
}

#[tokio::test]
async fn what_refers_to_an_archive_stands_as_kstatus_reads_it_in_each_phase() {
    let Some(site) = site("references").await else { return };
    // Nobody has looked at them yet: nobody may take them for finished.
    site.apply::<EdgeAgent>(agent("outside", "main", "External")).await;
    refer(&site, 10, "Audit", 2525).await;
    stand(&site, Standing::InProgress).await;
    assert_eq!(site.standing::<EdgeAgent>("outside").await, Standing::InProgress);

    // There is no archive: somebody has to act.
    let mut site = site.with_operator().await;
    site.until::<RetentionPolicy>("books", "misses its archive", lost()).await;
    site.until::<NetworkPolicySet>("written", "misses its archive", lost()).await;
    for name in ["inside", "outside"] {
        site.until::<EdgeAgent>(name, "misses its archive", lost()).await;
    }
    stand(&site, Standing::Failed).await;
    assert_eq!(site.standing::<EdgeAgent>("outside").await, Standing::Failed);

    // A change that no operator has seen: what was said is of what they were before.
    site.stop().await;
    refer(&site, 11, "Enforce", 2526).await;
    stand(&site, Standing::InProgress).await;
    let site = site.with_operator().await;

    // There is one now; nothing answers behind its name, so what must be told to it waits.
    let mut archive = standalone("main");
    archive["spec"]["exposure"] = json!({"ingest": {
        "type": "LoadBalancer", "hostnames": ["in.archive.example.org"], "allowedCIDRs": ["192.0.2.0/24"],
    }});
    site.apply::<ArchiveCore>(archive).await;
    site.until::<ArchiveCore>("main", "is ready", has("Available", "True")).await;
    site.until::<NetworkPolicySet>("written", "is in force", enforced).await;
    assert_eq!(site.standing::<NetworkPolicySet>("written").await, Standing::Current);
    site.until::<RetentionPolicy>("books", "waits", is("Reconciling", "True", "")).await;
    assert_eq!(site.standing::<RetentionPolicy>("books").await, Standing::InProgress);
    for name in ["inside", "outside"] {
        site.until::<EdgeAgent>(name, "waits", is("Reconciling", "True", "")).await;
        assert_eq!(site.standing::<EdgeAgent>(name).await, Standing::InProgress);
    }
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "networkpolicyset/written"];
    assert_eq!(site.kubectl(&wait).await.code, 0);
    let wait =
        ["wait", "--for=condition=Ready", "--timeout=1s", "retentionpolicy/books", "edgeagent/outside"];
    assert_ne!(site.kubectl(&wait).await.code, 0);
    let printed = site.kubectl(&["get", "openarchive", "-o", "wide"]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    for name in ["main", "books", "written", "outside"] {
        assert!(printed.stdout.contains(&format!("/{name} ")), "{}", printed.stdout);
    }

    goes::<RetentionPolicy>(&site, "books").await;
    goes::<NetworkPolicySet>(&site, "written").await;
    goes::<EdgeAgent>(&site, "outside").await;
}

#[tokio::test]
async fn a_policy_says_that_its_archive_is_paused_or_stalled_and_is_written_once() {
    let Some(site) = site("policy-waits").await else { return };
    let site = site.with_operator().await;
    let mut paused = standalone("main");
    paused["spec"]["operation"] = json!({"paused": true});
    site.apply::<ArchiveCore>(paused).await;
    site.apply::<RetentionPolicy>(retention_policy("books", "main", 10)).await;
    site.until::<RetentionPolicy>("books", "waits", is("Reconciling", "True", "Paused")).await;
    assert_eq!(site.standing::<RetentionPolicy>("books").await, Standing::InProgress);
    let again = json!({"metadata": {"labels": {"look": "again"}}});
    let mark = site.quiet().await;
    let archives = site.api::<ArchiveCore>();
    archives.patch("main", &PatchParams::default(), &Patch::Merge(&again)).await.unwrap();
    site.seen(mark, "retentionpolicies", "list").await;
    site.quiet().await;
    assert_eq!(site.writes_since(mark), [], "a second pass writes");

    // Somebody else's object of the name that ours would have.
    site.apply::<Service>(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "main-all"}, "spec": {"ports": [{"port": 80}]},
    }))
    .await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "cannot be", is("Stalled", "True", "NotOurs")).await;
    let stalled = is("Reconciling", "True", "Progressing");
    let policy = site.until::<RetentionPolicy>("books", "says so", stalled).await.unwrap();
    let message = &policy.status.unwrap().conditions[0].message;
    assert!(message.contains("main is stalled"), "{message}");
    let mark = site.quiet().await;
    site.pass("main").await;
    assert_eq!(site.writes_since(mark), [], "a second pass writes");

    // It stands, and nothing answers behind its name.
    site.api::<Service>().delete("main-all", &DeleteParams::default()).await.unwrap();
    site.pass("main").await;
    site.until::<RetentionPolicy>("books", "waits", is("Reconciling", "True", "CoreUnreachable")).await;
}

/// One of each kind that refers to the archive `main` and whose specification may change.
async fn refer(site: &Site, years: u32, mode: &str, port: u16) {
    site.apply::<RetentionPolicy>(retention_policy("books", "main", years)).await;
    site.apply::<NetworkPolicySet>(network_policy_set("written", "main", mode)).await;
    let mut inside = agent("inside", "main", "InCluster");
    inside["spec"]["listeners"][0]["port"] = json!(port);
    site.apply::<EdgeAgent>(inside).await;
}

/// How each of them stands.
async fn stand(site: &Site, expected: Standing) {
    assert_eq!(site.standing::<RetentionPolicy>("books").await, expected);
    assert_eq!(site.standing::<NetworkPolicySet>("written").await, expected);
    assert_eq!(site.standing::<EdgeAgent>("inside").await, expected);
}

/// It is deleted, and somebody holds it.
async fn goes<K>(site: &Site, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let held = async |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        site.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    held(json!(["test/held"])).await;
    site.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    assert_eq!(site.standing::<K>(name).await, Standing::Terminating);
    held(json!([])).await;
}

fn lost<K: Serialize>() -> impl Condition<K> {
    is("Stalled", "True", "ReferenceNotFound")
}
