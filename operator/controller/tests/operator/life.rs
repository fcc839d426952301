//! Objects as people write them, and lives of archives with everything that the operator does in them.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::Condition,
};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, FINALIZER, NetworkPolicySet, RetentionPolicy};
use serde_json::{Value, json};

use crate::support::{Site, condition, has, is, names, standalone};

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    })
}

pub(crate) fn network_policy_set(name: &str, archive: &str, mode: &str) -> Value {
    object("NetworkPolicySet", name, &json!({"archiveRef": {"name": archive}, "mode": mode}))
}

pub(crate) fn retention_policy(name: &str, archive: &str, years: u32) -> Value {
    object("RetentionPolicy", name, &json!({"archiveRef": {"name": archive}, "keepFor": {"years": years}}))
}

pub(crate) fn agent(name: &str, archive: &str, placement: &str) -> Value {
    let mut spec = json!({"archiveRef": {"name": archive}, "tenant": "acme", "placement": placement});
    if placement == "InCluster" {
        let peers = json!([{"cidrs": ["10.0.0.0/8"], "journalMode": "Plain"}]);
        spec["listeners"] = json!([{"name": "smtp", "port": 2525, "peers": peers}]);
        spec["buffer"] = json!({"size": "1Gi", "highWater": "512Mi"});
    }
    object("EdgeAgent", name, &spec)
}

/// A small archive of profile Distributed, with so many storage pods. Its Secrets are [`database`].
pub(crate) fn distributed(name: &str, version: &str, storage: u32) -> Value {
    let mut archive = standalone(name);
    let spec = &mut archive["spec"];
    spec["profile"] = json!("Distributed");
    spec["version"] = json!(version);
    spec["services"] = json!({"storage": {"replicas": storage}});
    spec["database"] = json!({"adminSecretRef": {"name": "database"}});
    spec["objectStore"] = json!({
        "endpoint": "https://s3.storage.svc", "bucket": "mail", "keyBucket": "mail-keys", "secretRef": {"name": "s3"},
    });
    archive
}

/// The Secrets that only people can give.
pub(crate) async fn database(site: &Site) {
    site.apply::<Secret>(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"},
        "stringData": {"url": "postgres://owner:secret@db.databases.svc:5432/mail"},
    }))
    .await;
    site.apply::<Secret>(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"},
        "stringData": {"accessKeyId": "mail", "secretAccessKey": "secret"},
    }))
    .await;
}

/// Each of its policies stands.
pub(crate) fn enforced(set: Option<&NetworkPolicySet>) -> bool {
    let is_current = set.is_some_and(|set| {
        set.metadata.generation == set.status.as_ref().and_then(|status| status.observed_generation)
    });
    let status = set.and_then(|set| set.status.as_ref());
    is_current
        && status.is_some_and(|status| {
            !status.policies.is_empty() && status.policies.iter().all(|policy| policy.uid.is_some())
        })
}

/// The archive `main` of profile Standalone becomes ready; nothing answers behind its name, so the rest waits.
pub(crate) async fn born(site: &Site) {
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.until::<ArchiveCore>("main", "keeps its configuration", has("AuditRecorded", "False")).await;
    site.apply::<RetentionPolicy>(retention_policy("books", "main", 10)).await;
    site.apply::<EdgeAgent>(agent("outside", "main", "External")).await;
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    site.until::<RetentionPolicy>("books", "waits", is("Reconciling", "True", "")).await;
    site.until::<EdgeAgent>("outside", "is looked at", |agent: Option<&EdgeAgent>| {
        agent.is_some_and(|agent| agent.status.is_some())
    })
    .await;
}

/// After [`born`]: a set that somebody wrote takes the place of its own, somebody changes what was applied, what an earlier
/// operator left behind goes, and so does an agent.
pub(crate) async fn changed(site: &Site) {
    site.apply::<NetworkPolicySet>(network_policy_set("written", "main", "Enforce")).await;
    site.until::<NetworkPolicySet>("main", "has given way", |set: Option<&NetworkPolicySet>| set.is_none())
        .await;
    site.until::<NetworkPolicySet>("written", "is enforced", enforced).await;
    // The same change twice is one event that is told twice.
    for _ in 0..2 {
        drift(site).await;
    }
    left_behind(site).await;
    outlived(site).await;
    site.until::<ArchiveCore>("main", "is there", has("Available", "True")).await;
}

/// An agent that the operator held, as it does once it made a token, and whose archive has gone since: it is let go.
async fn outlived(site: &Site) {
    site.apply::<EdgeAgent>(agent("short", "gone", "External")).await;
    site.until::<EdgeAgent>("short", "misses its archive", is("Stalled", "True", "ReferenceNotFound")).await;
    let held = json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "EdgeAgent",
        "metadata": {"name": "short", "finalizers": [FINALIZER]},
    });
    let operator = PatchParams::apply("openarchive-operator-finalizer").force();
    site.api::<EdgeAgent>().patch("short", &operator, &Patch::Apply(&held)).await.unwrap();
    site.api::<EdgeAgent>().delete("short", &DeleteParams::default()).await.unwrap();
    site.until::<EdgeAgent>("short", "is gone", |agent: Option<&EdgeAgent>| agent.is_none()).await;
}

async fn drift(site: &Site) {
    let alien = PatchParams { field_manager: Some("an-alien".to_owned()), ..PatchParams::default() };
    let patch = json!({"spec": {"selector": {"app.kubernetes.io/component": "elsewhere"}}});
    site.api::<Service>().patch("main-all", &alien, &Patch::Merge(&patch)).await.unwrap();
    site.until::<Service>("main-all", "is as built again", |service: Option<&Service>| {
        let selector = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
        selector.is_some_and(|selector| selector["app.kubernetes.io/component"] == "all")
    })
    .await;
}

/// Objects with the labels of the archive `main` that nobody builds.
async fn left_behind(site: &Site) {
    let labels = json!({
        "app.kubernetes.io/name": "openarchive",
        "app.kubernetes.io/instance": "main",
        "app.kubernetes.io/component": "left",
        "app.kubernetes.io/managed-by": "openarchive-operator",
    });
    let left = |api: &str, kind: &str, spec: Value| {
        let mut object = json!({
            "apiVersion": api, "kind": kind, "metadata": {"name": "main-left", "labels": labels},
        });
        if !spec.is_null() {
            object["spec"] = spec;
        }
        object
    };
    let selector = json!({"matchLabels": {"left": "behind"}});
    let template = json!({
        "metadata": {"labels": {"left": "behind"}}, "spec": {"containers": [{"name": "one", "image": "none"}]},
    });
    let pods = json!({"replicas": 0, "selector": selector, "template": template});
    let mut job = json!({"suspend": true, "template": template});
    job["template"]["spec"]["restartPolicy"] = json!("Never");
    site.apply::<ServiceAccount>(left("v1", "ServiceAccount", Value::Null)).await;
    site.apply::<ConfigMap>(left("v1", "ConfigMap", Value::Null)).await;
    site.apply::<Service>(left("v1", "Service", json!({"ports": [{"port": 80}]}))).await;
    site.apply::<Deployment>(left("apps/v1", "Deployment", pods.clone())).await;
    let mut set = pods;
    set["serviceName"] = json!("left");
    site.apply::<StatefulSet>(left("apps/v1", "StatefulSet", set)).await;
    site.apply::<Job>(left("batch/v1", "Job", job)).await;
    let budget = json!({"maxUnavailable": 1, "selector": selector});
    site.apply::<PodDisruptionBudget>(left("policy/v1", "PodDisruptionBudget", budget)).await;
    let policy = json!({"podSelector": selector});
    site.apply::<NetworkPolicy>(left("networking.k8s.io/v1", "NetworkPolicy", policy)).await;
    gone::<ServiceAccount>(site).await;
    gone::<ConfigMap>(site).await;
    gone::<Service>(site).await;
    gone::<Deployment>(site).await;
    gone::<StatefulSet>(site).await;
    gone::<Job>(site).await;
    gone::<PodDisruptionBudget>(site).await;
    gone::<NetworkPolicy>(site).await;
}

async fn gone<K>(site: &Site)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize
        + Send
        + 'static,
{
    site.until::<K>("main-left", "is gone", |found: Option<&K>| found.is_none()).await;
}

/// The archive `main` of profile Distributed is rolled out in order, then as another version and with a pod of storage less.
pub(crate) async fn rolled_out(site: &Site) {
    database(site).await;
    for (version, storage) in [("0.1.0", 2), ("0.2.0", 1)] {
        site.apply::<ArchiveCore>(distributed("main", version, storage)).await;
        site.until::<ArchiveCore>("main", "is rolled out", runs(version)).await;
    }
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    site.until::<PodDisruptionBudget>("main-storage", "is gone", |budget: Option<&PodDisruptionBudget>| {
        budget.is_none()
    })
    .await;
}

/// An archive of profile Distributed is rolled out in this version, and says what is missing.
pub(crate) fn runs(version: &'static str) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        archive.is_some_and(|archive| {
            let running = archive.status.as_ref().and_then(|status| status.version.as_deref());
            let stalled = condition(archive, "Stalled");
            running == Some(version)
                && stalled.is_some_and(|(status, reason, generation)| {
                    status == "True"
                        && reason == "EngineNotAvailable"
                        && Some(generation) == archive.metadata.generation
                })
        })
    }
}

/// What stands of the archive `main`, by kind.
pub(crate) async fn inventory(site: &Site) -> BTreeMap<&'static str, Vec<String>> {
    BTreeMap::from([
        ("ServiceAccount", names::<ServiceAccount>(site, "main").await),
        ("ConfigMap", names::<ConfigMap>(site, "main").await),
        ("Secret", names::<Secret>(site, "main").await),
        ("Service", names::<Service>(site, "main").await),
        ("NetworkPolicySet", names::<NetworkPolicySet>(site, "main").await),
        ("Job", names::<Job>(site, "main").await),
        ("StatefulSet", names::<StatefulSet>(site, "main").await),
        ("Deployment", names::<Deployment>(site, "main").await),
        ("PodDisruptionBudget", names::<PodDisruptionBudget>(site, "main").await),
        ("NetworkPolicy", names::<NetworkPolicy>(site, "main").await),
    ])
}
