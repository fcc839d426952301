//! Objects that this version of the operator cannot read, as after a rollback: in a cluster of their own, whose definitions take
//! any specification. The others go on, and where objects count as a set, nobody goes on without the one.

use std::fmt::Debug;

use k8s_openapi::{
    api::{core::v1::ConfigMap, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    runtime::wait::{Condition, await_condition},
};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, NetworkPolicySet, RetentionPolicy, crds};
use openarchive_operator_cluster::Cluster;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    kstatus::{Standing, standing as judged},
    life::{agent, enforced, network_policy_set, retention_policy},
    support::{Site, WAIT, has, is, site_in, standalone},
};

/// Stands where no address may be seen again.
const ADDRESS: &str = "joe@acme.example";

/// The definitions, as if a later version allowed everything.
fn loose() -> Vec<CustomResourceDefinition> {
    let loosen = |definition| {
        let mut definition = serde_json::to_value(definition).unwrap();
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        schema.as_object_mut().unwrap().remove("x-kubernetes-validations");
        serde_json::from_value(definition).unwrap()
    };
    crds().into_iter().map(loosen).collect()
}

fn api<K: Resource<DynamicType = ()>>(site: &Site) -> Api<DynamicObject> {
    Api::namespaced_with(site.admin.clone(), &site.namespace, &ApiResource::erase::<K>(&()))
}

async fn apply<K: Resource<DynamicType = ()>>(site: &Site, object: &Value) {
    let (name, person) =
        (object["metadata"]["name"].as_str().unwrap(), PatchParams::apply("a-person").force());
    api::<K>(site).patch(name, &person, &Patch::Apply(object)).await.unwrap();
}

async fn until<K>(site: &Site, name: &str, condition: impl Condition<DynamicObject> + Debug)
where
    K: Resource<DynamicType = ()>,
{
    let what = format!("{} {name} {condition:?}", K::kind(&()));
    let outcome = timeout(WAIT, await_condition(api::<K>(site), name, condition)).await;
    let now = api::<K>(site).get_opt(name).await.unwrap();
    assert!(outcome.is_ok(), "waited in vain for {what}: {now:#?}");
}

/// Its condition `Stalled` says that it cannot be read, and where.
#[derive(Debug)]
struct Unreadable(&'static str);

impl Condition<DynamicObject> for Unreadable {
    fn matches_object(&self, object: Option<&DynamicObject>) -> bool {
        let stalled = object.and_then(|object| condition(&object.data, "Stalled"));
        stalled.is_some_and(|stalled| {
            stalled["status"] == "True"
                && stalled["reason"] == "Unreadable"
                && stalled["message"].as_str().unwrap().contains(self.0)
        })
    }
}

#[derive(Debug)]
struct NotStalled;

impl Condition<DynamicObject> for NotStalled {
    fn matches_object(&self, object: Option<&DynamicObject>) -> bool {
        let stalled = object.and_then(|object| condition(&object.data, "Stalled"));
        stalled.is_some_and(|stalled| stalled["status"] == "False")
    }
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == type_)
}

/// The archive waits for this object, at this place.
fn waits_for(object: &'static str, place: &'static str) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        let archive = serde_json::to_value(archive).unwrap();
        let reconciling = condition(&archive, "Reconciling");
        reconciling.is_some_and(|reconciling| {
            let message = reconciling["message"].as_str().unwrap();
            reconciling["status"] == "True"
                && reconciling["reason"] == "Unreadable"
                && message.contains(object)
                && message.contains(place)
        })
    }
}

/// It has come as far as it can here: behind the archive's name nobody answers.
fn calls() -> impl Condition<ArchiveCore> {
    is("Reconciling", "True", "CoreUnreachable")
}

/// What the operator says of the namespace in events, all of it.
async fn told(site: &Site) -> String {
    let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let lines = events.into_iter().map(|event| format!("{:?} {:?}", event.reason, event.note));
    lines.collect::<Vec<_>>().join("\n")
}

fn with_spec(mut object: Value, field: &str, value: Value) -> Value {
    object["spec"][field] = value;
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_read_stops_neither_its_kind_nor_its_neighbours() {
    let Some(cluster) = Cluster::start().await.unwrap() else { return };
    cluster.apply_crds(&loose()).await.unwrap();
    let site = site_in(cluster, "unreadable").await;
    // Before the operator starts: one of each kind that the first list finds.
    let bad_archive = with_spec(standalone("bad"), "tenants", json!(ADDRESS));
    apply::<ArchiveCore>(&site, &bad_archive).await;
    apply::<EdgeAgent>(&site, &with_spec(agent("mx", "far", "External"), "placement", json!(ADDRESS))).await;
    let set = with_spec(network_policy_set("wide", "far", "Audit"), "extraEdges", json!({"from": ADDRESS}));
    apply::<NetworkPolicySet>(&site, &set).await;
    let mut short = retention_policy("short", "far", 1);
    short["spec"].as_object_mut().unwrap().remove("keepFor");
    apply::<RetentionPolicy>(&site, &short).await;

    let site = site.with_operator().await;
    until::<ArchiveCore>(&site, "bad", Unreadable("spec.tenants")).await;
    until::<EdgeAgent>(&site, "mx", Unreadable("spec.placement")).await;
    until::<NetworkPolicySet>(&site, "wide", Unreadable("spec.extraEdges")).await;
    until::<RetentionPolicy>(&site, "short", Unreadable("spec.keepFor")).await;
    let object = api::<EdgeAgent>(&site).get("mx").await.unwrap();
    assert_eq!(judged(&serde_json::to_value(object).unwrap()), Standing::Failed);

    // The others of each kind are looked at as ever.
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.apply::<EdgeAgent>(agent("outside", "main", "External")).await;
    site.apply::<RetentionPolicy>(retention_policy("books", "main", 10)).await;
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    site.until::<RetentionPolicy>("books", "waits for the archive", is("Reconciling", "True", "")).await;
    // The archive has no way in from outside.
    site.until::<EdgeAgent>("outside", "is looked at", is("Stalled", "True", "InvalidSpec")).await;
    // What cannot be read was told once.
    site.quiet().await;

    // A policy of the archive that becomes unreadable is not taken for one that was withdrawn.
    let mut books = retention_policy("books", "main", 10);
    apply::<RetentionPolicy>(&site, &with_spec(books.clone(), "keepFor", json!(ADDRESS))).await;
    until::<RetentionPolicy>(&site, "books", Unreadable("spec.keepFor")).await;
    site.until::<ArchiveCore>("main", "waits for it", waits_for("RetentionPolicy books", "spec.keepFor"))
        .await;
    let config = async || site.api::<ConfigMap>().get("main-config").await.unwrap().data;
    let before = config().await;
    site.apply::<ArchiveCore>(with_spec(standalone("main"), "tenants", json!([{"name": "other"}]))).await;
    site.until::<ArchiveCore>("main", "still waits", |archive: Option<&ArchiveCore>| {
        let observed = archive.and_then(|archive| archive.status.as_ref()?.observed_generation);
        observed == Some(2) && waits_for("RetentionPolicy books", "spec.keepFor").matches_object(archive)
    })
    .await;
    assert_eq!(config().await, before, "something is applied while the set is not whole");
    books["spec"]["keepFor"] = json!({"years": 11});
    apply::<RetentionPolicy>(&site, &books).await;
    until::<RetentionPolicy>(&site, "books", NotStalled).await;
    site.until::<ConfigMap>("main-config", "is of the new tenant", |now: Option<&ConfigMap>| {
        now.is_some_and(|now| now.data != before)
    })
    .await;
    site.until::<ArchiveCore>("main", "calls the archive", calls()).await;

    // Whose agent it is nobody can tell: each archive that could be meant waits, until it is gone.
    let lost = with_spec(agent("lost", "main", "External"), "archiveRef", json!(ADDRESS));
    apply::<EdgeAgent>(&site, &lost).await;
    site.until::<ArchiveCore>("main", "waits", waits_for("EdgeAgent lost", "spec.archiveRef")).await;
    api::<EdgeAgent>(&site).delete("lost", &DeleteParams::default()).await.unwrap();
    site.until::<ArchiveCore>("main", "calls the archive", calls()).await;

    // Mended, it is one like the others.
    apply::<ArchiveCore>(&site, &standalone("bad")).await;
    site.until::<ArchiveCore>("bad", "is ready", has("Ready", "True")).await;
    until::<ArchiveCore>(&site, "bad", NotStalled).await;

    let events = told(&site).await;
    for place in ["spec.tenants", "spec.placement", "spec.extraEdges", "spec.keepFor", "spec.archiveRef"] {
        assert!(events.contains(&format!("cannot read {place}:")), "{place}: {events}");
    }
    assert!(!events.contains(ADDRESS) && !events.contains("acme.example"), "{events}");
}
