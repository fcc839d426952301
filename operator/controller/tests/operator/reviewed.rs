//! What reviews found missing: the end of an archive is on record, policies and sets are configurations, what opens a pod is
//! undone, what others delete is told, a lost status does not fork the chain.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::Service,
    events::v1::Event,
    networking::v1::NetworkPolicy,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use openarchive_domain::{Clock, SystemClock, Timestamp};
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet, RetentionPolicy};
use openarchive_operator_snapshot::{
    Chain, ConfigLog, Finding, Revisions, SNAPSHOT_BYTES_MAX, Snapshot, Subject, selector,
};
use openarchive_telemetry::metrics;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    life::{database, distributed},
    pod::{Pod, chain, core, overrides, with_tenants},
    support::{Site, WAIT, condition, has, is, names, site, standalone},
};

/// What the cluster keeps of the archive `main`, oldest first, checked to be one chain.
async fn kept(site: &Site) -> Vec<Snapshot> {
    let subject = Subject::new("ArchiveCore", &site.namespace, "main").unwrap();
    let ours = ListParams::default().labels(&selector(&subject));
    let found = site.api::<ControllerRevision>().list(&ours).await.unwrap();
    let chain = Chain::verify(&subject, &Revisions::read(&found.items), &ConfigLog::default());
    assert_eq!(chain.findings, []);
    chain.pending.into_iter().map(|revision| revision.snapshot).collect()
}

async fn kept_until(site: &Site, what: &str, condition: impl Fn(&[Snapshot]) -> bool) -> Vec<Snapshot> {
    let begun = Instant::now();
    loop {
        let now = kept(site).await;
        if condition(&now) {
            return now;
        }
        let texts: Vec<_> = now.iter().map(Snapshot::canonical).collect();
        assert!(begun.elapsed() < WAIT, "waited in vain until {what}: {texts:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn is_told(site: &Site, words: &str) -> Event {
    let is_it = |event: &Event| event.note.as_ref().is_some_and(|note| note.contains(words));
    let begun = Instant::now();
    loop {
        let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        if let Some(told) = events.iter().find(|event| is_it(event)) {
            return told.clone();
        }
        let notes: Vec<_> = events.into_iter().filter_map(|event| event.note).collect();
        assert!(begun.elapsed() < WAIT, "nobody tells {words:?}: {notes:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Reason of each warning about objects of that name, and how often it was told.
pub(crate) async fn warnings(site: &Site, name: &str) -> Vec<(String, i32)> {
    let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let is_it = |event: &Event| {
        event.type_.as_deref() == Some("Warning")
            && event.regarding.as_ref().is_some_and(|regarding| regarding.name.as_deref() == Some(name))
    };
    let told = events.into_iter().filter(is_it);
    told.map(|event| (event.reason.unwrap_or_default(), event.series.map_or(1, |series| series.count)))
        .collect()
}

fn objects(snapshot: &Snapshot, kind: &str) -> Vec<Value> {
    snapshot.objects().iter().filter(|object| object["kind"] == kind).cloned().collect()
}

/// Ahead of everybody else's.
#[derive(Debug)]
struct Ahead(i64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0)
    }
}

const TEN_MINUTES_MILLIS: i64 = 10 * 60 * 1_000;

#[tokio::test]
async fn the_end_of_an_archive_is_its_last_leaf_or_is_told_after_a_deadline() {
    let Some(mut site) = site("ended").await else { return };
    let mut pod = Pod::new();
    let client = site.operator_client().await;
    let dialled = overrides(&site, &pod);
    site.start(client.clone(), dialled.clone()).await;
    site.apply::<ArchiveCore>(with_tenants(1)).await;
    site.until::<ArchiveCore>("main", "keeps its configuration", has("AuditRecorded", "False")).await;
    let first = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert!(first.finalizers().is_empty(), "nothing is on record yet");
    pod.mount(&site).await;
    pod.start();
    let is_held = |archive: Option<&ArchiveCore>| archive.is_some_and(|one| !one.finalizers().is_empty());
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    let first_held = site.until::<ArchiveCore>("main", "is held", is_held).await.unwrap();

    // Status and history are lost, as after a restore of the specification alone: the chain goes on from the ledger.
    site.stop().await;
    for revision in names_of_history(&site).await {
        site.api::<ControllerRevision>().delete(&revision, &DeleteParams::default()).await.unwrap();
    }
    let nothing = json!({"status": null});
    let anybody = PatchParams::default();
    site.api::<ArchiveCore>().patch_status("main", &anybody, &Patch::Merge(&nothing)).await.unwrap();
    site.apply::<ArchiveCore>(with_tenants(2)).await;
    site.start(client.clone(), dialled.clone()).await;
    site.until::<ArchiveCore>("main", "is recorded again", has("AuditRecorded", "True")).await;
    let folder = tempfile::tempdir().unwrap();
    let core = core(&site, &pod, folder.path()).await;
    let whole = chain(&site, &core).await;
    assert!(matches!(&whole.findings[..], [Finding::RevisionMissing { .. }]), "{:?}", whole.findings);
    let ordinals: Vec<_> = whole.recorded.iter().map(|link| link.ordinal).collect();
    assert_eq!(ordinals, [1, 2]);

    // A pause does not hold up the record of the end.
    let mut paused = with_tenants(2);
    paused["spec"]["operation"] = json!({"paused": true});
    site.apply::<ArchiveCore>(paused).await;
    site.until::<ArchiveCore>("main", "is paused", has_reason("Ready", "Paused")).await;
    let key = format!("archive=\"{}/main\"", site.namespace);
    assert!(metrics::render().contains(&key));
    site.api::<ArchiveCore>().delete("main", &DeleteParams::background()).await.unwrap();
    site.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    let begun = Instant::now();
    while metrics::render().contains(&key) {
        assert!(begun.elapsed() < WAIT, "its gauges stay");
        sleep(Duration::from_millis(100)).await;
    }
    let whole = chain(&site, &core).await;
    assert!(matches!(&whole.findings[..], [Finding::RevisionMissing { .. }]), "{:?}", whole.findings);
    let last = whole.recorded.last().unwrap().snapshot.clone().unwrap();
    assert!(last.is_deletion() && last.client_declared_manager() == "unknown", "{}", last.canonical());
    assert_eq!(last.spec()["operation"]["paused"], true);
    is_told(&site, "its deletion is leaf 3 of the config log").await;

    // Another one of that name goes on with the chain. Somebody applies it as it was read, finalizer and all.
    let mut copy = with_tenants(1);
    copy["metadata"]["finalizers"] = json!(first_held.finalizers());
    site.apply::<ArchiveCore>(copy).await;
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    site.until::<ArchiveCore>("main", "is held", is_held).await;
    assert_eq!(chain(&site, &core).await.recorded.len(), 4);

    // What the garbage collector took of the one before is made anew.
    site.quiet().await;
    // Its ledger cannot be reached: nothing of it goes until the deadline. A process whose callers have gone ends at once.
    drop(core);
    site.stop().await;
    pod.stop();
    site.start(client.clone(), dialled.clone()).await;
    site.api::<ArchiveCore>().delete("main", &DeleteParams::background()).await.unwrap();
    site.until::<ArchiveCore>("main", "waits", has("AuditRecorded", "False")).await;
    site.quiet().await;
    assert_eq!(names::<StatefulSet>(&site, "main").await, ["main-all"]);
    site.stop().await;
    site.start_at(client, dialled, Arc::new(Ahead(TEN_MINUTES_MILLIS))).await;
    site.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    is_told(&site, "it goes and its ledger does not know").await;
    assert_eq!(names_of_history(&site).await.len(), 4, "its end is kept");
}

async fn names_of_history(site: &Site) -> Vec<String> {
    let found = site.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
    let ours = found.items.iter().filter(|revision| revision.name_any().starts_with("main-config-"));
    ours.map(ResourceExt::name_any).collect()
}

fn has_reason(type_: &'static str, reason: &'static str) -> impl kube::runtime::wait::Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        archive.and_then(|archive| condition(archive, type_)).is_some_and(|(_, found, _)| found == reason)
    }
}

#[tokio::test]
async fn policies_and_a_written_set_are_configurations_of_the_archive_without_an_address() {
    let Some(site) = site("beside").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    let first = kept_until(&site, "it is kept", |kept| kept.len() == 1).await;
    assert_eq!(objects(&first[0], "NetworkPolicySet").len(), 1);

    let policy = |years: u32| {
        json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "books"},
            "spec": {
                "archiveRef": {"name": "main"}, "keepFor": {"years": years},
                "match": {"mailboxes": ["jane@acme.example"], "domains": ["acme.example"]},
            },
        })
    };
    site.apply::<RetentionPolicy>(policy(10)).await;
    let second = kept_until(&site, "the policy is kept", |kept| kept.len() == 2).await;
    assert_eq!(second[1].generation(), first[0].generation());
    assert_eq!(second[1].client_declared_manager(), "a-person");
    let books = &objects(&second[1], "RetentionPolicy")[0];
    assert_eq!(books["spec"]["keepFor"]["years"], 10);
    let mailbox = books["spec"]["match"]["mailboxes"][0].as_str().unwrap();
    assert!(mailbox.starts_with("hmac-sha256:"), "{mailbox}");
    assert!(!second[1].canonical().contains("jane"));
    site.apply::<RetentionPolicy>(policy(11)).await;
    kept_until(&site, "its change is kept", |kept| kept.len() == 3).await;

    site.apply::<NetworkPolicySet>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "NetworkPolicySet", "metadata": {"name": "written"},
        "spec": {"archiveRef": {"name": "main"}, "mode": "Audit"},
    }))
    .await;
    let fourth = kept_until(&site, "the set is kept", |kept| kept.len() == 4).await;
    let sets = objects(&fourth[3], "NetworkPolicySet");
    assert_eq!((sets.len(), &sets[0]["spec"]["mode"]), (1, &json!("Audit")));

    site.api::<RetentionPolicy>().delete("books", &DeleteParams::default()).await.unwrap();
    let fifth = kept_until(&site, "the deletion is kept", |kept| kept.len() == 5).await;
    assert_eq!(objects(&fifth[4], "RetentionPolicy"), [json!(null); 0]);
    assert_eq!(fifth[4].client_declared_manager(), "unknown");
    let mark = site.quiet().await;
    site.apply::<ArchiveCore>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
        "metadata": {"name": "main", "labels": {"seen": "again"}}, "spec": standalone("main")["spec"],
    }))
    .await;
    site.seen(mark, "controllerrevisions", "list").await;
    site.quiet().await;
    assert_eq!(site.writes_since(mark), [], "a pass over an unchanged world writes");
}

#[tokio::test]
async fn what_opens_a_pod_is_undone_and_what_is_deleted_is_told_and_made_anew() {
    let Some(site) = site("opened").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.quiet().await;
    let sets = site.api::<StatefulSet>();
    let built = pod_of(sets.get_opt("main-all").await.unwrap().as_ref());

    let alien = PatchParams { field_manager: Some("an-alien".to_owned()), ..PatchParams::default() };
    let sidecar = json!({"name": "sidecar", "image": "evil:1"});
    for hole in [
        json!({"hostNetwork": true, "hostPID": true}),
        json!({"initContainers": [{"name": "first", "image": "evil:1"}]}),
        json!({
            "containers": [sidecar, {"name": "openarchive", "volumeMounts": [{"name": "host", "mountPath": "/host"}]}],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        }),
        json!({"containers": [{"name": "openarchive", "command": ["sh"], "env": [{"name": "A", "value": "b"}],
                               "securityContext": {"runAsUser": 0, "capabilities": {"add": ["SYS_ADMIN"]}}}]}),
        json!({"serviceAccountName": "default", "automountServiceAccountToken": true}),
    ] {
        let patch = json!({"spec": {"template": {"spec": hole}}});
        let opened = sets.patch("main-all", &alien, &Patch::Strategic(&patch)).await.unwrap();
        assert_ne!(pod_of(Some(&opened)), built, "{hole}");
        let is_closed = |set: Option<&StatefulSet>| pod_of(set) == built;
        site.until::<StatefulSet>("main-all", "is as built again", is_closed).await;
    }
    is_told(&site, "StatefulSet main-all was changed by an-alien").await;

    let services = site.api::<Service>();
    let address = json!({"spec": {"externalIPs": ["192.0.2.1"]}});
    services.patch("main-all", &alien, &Patch::Merge(&address)).await.unwrap();
    let is_closed = |service: Option<&Service>| {
        service.and_then(|service| service.spec.as_ref()).is_some_and(|spec| spec.external_ips.is_none())
    };
    site.until::<Service>("main-all", "has no address outside", is_closed).await;
    site.quiet().await;
    let uid = services.get("main-all").await.unwrap().uid();
    services.delete("main-all", &DeleteParams::default()).await.unwrap();
    site.until::<Service>("main-all", "is made anew", move |service: Option<&Service>| {
        service.is_some_and(|service| service.uid() != uid)
    })
    .await;
    is_told(&site, "Service main-all was deleted by unknown and is made anew").await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    let mark = site.quiet().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(site.writes_since(mark), []);
}

/// The pod's specification as it stands in the template.
fn pod_of(set: Option<&StatefulSet>) -> Value {
    set.map_or(Value::Null, |set| json!(set.spec.as_ref().unwrap().template.spec))
}

#[tokio::test]
async fn what_stands_is_kept_while_the_rest_waits_behind_the_gate() {
    let Some(site) = site("heldback").await else { return };
    let storage = [("app.kubernetes.io/component", "storage")];
    let node = site.cluster.node().unwrap();
    node.hold(&site.namespace, &storage);
    let site = site.with_operator().await;
    database(&site).await;
    let archive = |replicas: u32| distributed("main", "0.1.0", replicas);
    let deployments = |snapshot: &Snapshot| {
        let names = objects(snapshot, "Deployment").into_iter();
        let names = names.map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| name != "main-prober").collect::<Vec<_>>()
    };
    let ends_with =
        |kept: &[Snapshot], names: &[&str]| kept.last().is_some_and(|last| deployments(last) == names);
    site.apply::<ArchiveCore>(archive(1)).await;
    let stands = ["main-storage", "main-trust"];
    kept_until(&site, "what stands is kept", |kept| ends_with(kept, &stands)).await;
    let mark = site.quiet().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(site.writes_since(mark), [], "a hanging rollout writes");

    site.cluster.node().unwrap().release(&site.namespace, &storage);
    let all = ["main-gateway", "main-index", "main-ingest", "main-storage", "main-trust", "main-worker"];
    let whole = kept_until(&site, "all of it is kept", |kept| ends_with(kept, &all)).await;
    assert!(whole.len() <= 6, "one for each stage at most: {}", whole.len());
    assert!(whole.iter().all(|one| one.generation() == 1));

    // What waits runs on as it was applied before, and that is on record.
    site.cluster.node().unwrap().hold(&site.namespace, &storage);
    site.quiet().await;
    site.apply::<ArchiveCore>(archive(2)).await;
    let held = kept_until(&site, "the change is kept", |kept| kept.last().unwrap().generation() == 2).await;
    assert_eq!(deployments(held.last().unwrap()), all);
}

#[tokio::test]
async fn an_archive_is_ready_when_its_network_policies_stand() {
    let Some(site) = site("protected").await else { return };
    let site = site.with_operator().await;
    // Somebody else's policy of the name that ours would have.
    site.apply::<NetworkPolicy>(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "main-all"},
        "spec": {"podSelector": {}},
    }))
    .await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "says what is missing", |archive: Option<&ArchiveCore>| {
        let conditions = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.conditions);
        let is_so = |type_: &str, status: &str, words: &str| {
            let mut all = conditions.into_iter().flatten();
            all.any(|one| one.type_ == type_ && one.status == status && one.message.contains(words))
        };
        is_so("Ready", "False", "NetworkPolicy main-all is there already") && is_so("Available", "True", "")
    })
    .await;
    site.api::<NetworkPolicy>().delete("main-all", &DeleteParams::default()).await.unwrap();
    // Nobody watches what is not ours: a change of the set makes the operator look again.
    let label = json!({"metadata": {"labels": {"look": "again"}}});
    let sets = site.api::<NetworkPolicySet>();
    sets.patch("main", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
}

/// Policies that say so much that no snapshot can hold them together.
fn too_many_domains() -> impl Iterator<Item = Value> {
    (0..POLICIES_TOO_LARGE).map(|number| {
        let label = "d".repeat(58);
        let domains: Vec<_> =
            (0..256).map(|place| format!("{place}.{label}.{label}.{label}.example")).collect();
        json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy",
            "metadata": {"name": format!("books-{number}")},
            "spec": {"archiveRef": {"name": "main"}, "keepFor": {"years": 7}, "match": {"domains": domains}},
        })
    })
}

/// Some 48 kB each.
const POLICIES_TOO_LARGE: usize = SNAPSHOT_BYTES_MAX / 45_000;

#[tokio::test]
async fn a_configuration_that_is_too_large_to_be_recorded_does_not_hold_up_the_policies() {
    let Some(mut site) = site("too-large").await else { return };
    let mut pod = Pod::new();
    let dialled = overrides(&site, &pod);
    site.start(site.operator_client().await, dialled).await;
    site.apply::<ArchiveCore>(with_tenants(1)).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    for policy in too_many_domains() {
        site.apply::<RetentionPolicy>(policy).await;
    }
    site.until::<ArchiveCore>("main", "says that it is too large", is("Stalled", "True", "InvalidSpec"))
        .await;
    for number in 0..POLICIES_TOO_LARGE {
        let name = format!("books-{number}");
        site.until::<RetentionPolicy>(&name, "is in force", is("Ready", "True", "Reconciled")).await;
    }
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert_eq!(condition(&archive, "Stalled").unwrap().0, "True");
    let message = serde_json::to_string(&archive.status).unwrap();
    assert!(message.contains("the configuration cannot be recorded"), "{message}");
}
