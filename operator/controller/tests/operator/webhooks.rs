//! Somebody's admission policy changes what the operator writes, with each write, as mutating webhooks do: it is told, and nothing
//! else waits for it.

use k8s_openapi::api::{
    admissionregistration::v1beta1::{MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding},
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    events::v1::Event,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::Condition,
};
use openarchive_operator_api::{ArchiveCore, RetentionPolicy};
use openarchive_operator_cluster::audit::Request;
use openarchive_operator_controller::core::DialOverrides;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    life::{database, distributed, retention_policy},
    pod::{Pod, overrides},
    reviewed::is_told,
    support::{Site, WAIT, condition, has, is, site, standalone},
};

const PROXY: &str = r#"[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/env", value: [{"name": "HTTPS_PROXY", "value": "proxy.test"}]}]"#;
const MIRROR: &str = r#"[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.test/openarchive:0.1.0"}]"#;

impl Site {
    /// From now on every workload that is written in the namespace is changed by `patch`.
    async fn mutate(&self, patch: &str) {
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": self.namespace},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["apps", "batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["statefulsets", "deployments", "jobs"],
                }]},
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": self.namespace},
            "spec": {
                "policyName": self.namespace,
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}},
            },
        });
        let parameters = PostParams::default();
        let policies: Api<MutatingAdmissionPolicy> = Api::all(self.admin.clone());
        policies.create(&parameters, &serde_json::from_value(policy).unwrap()).await.unwrap();
        let bindings: Api<MutatingAdmissionPolicyBinding> = Api::all(self.admin.clone());
        bindings.create(&parameters, &serde_json::from_value(binding).unwrap()).await.unwrap();
        self.mutates_until(true).await;
    }

    async fn mutate_no_more(&self) {
        let bindings: Api<MutatingAdmissionPolicyBinding> = Api::all(self.admin.clone());
        bindings.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
        self.mutates_until(false).await;
    }

    /// The API server reads its policies now and then.
    async fn mutates_until(&self, expected: bool) {
        let container = json!({"name": "one", "image": "none"});
        let asked: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "asked"},
            "spec": {
                "selector": {"matchLabels": {"asked": "yes"}},
                "template": {"metadata": {"labels": {"asked": "yes"}}, "spec": {"containers": [container]}},
            },
        }))
        .unwrap();
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let begun = Instant::now();
        loop {
            let answer = self.api::<Deployment>().create(&parameters, &asked).await.unwrap();
            let first = container_of(&json!(answer));
            if (first["image"] != "none" || first.get("env").is_some()) == expected {
                return;
            }
            assert!(begun.elapsed() < WAIT, "the API server does not see the policy");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn container_of(workload: &Value) -> Value {
    workload["spec"]["template"]["spec"]["containers"][0].clone()
}

async fn image_of(site: &Site, set: &str) -> Value {
    container_of(&json!(site.api::<StatefulSet>().get(set).await.unwrap()))["image"].clone()
}

/// The condition `Drifted` is true and names all of it.
fn drifted<const N: usize>(words: [&'static str; N]) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        let conditions = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.conditions);
        conditions.into_iter().flatten().any(|one| {
            one.type_ == "Drifted"
                && one.status == "True"
                && one.reason == "DriftRemains"
                && words.iter().all(|words| one.message.contains(words))
        })
    }
}

/// Of which object, and how often: events that say that a change remains.
async fn told(site: &Site) -> Vec<(String, i32)> {
    let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let remains = events.into_iter().filter(|event| event.reason.as_deref() == Some("DriftRemains"));
    let mut told: Vec<_> = remains
        .map(|event| {
            let count = event.series.map_or(1, |series| series.count);
            (event.related.and_then(|related| related.name).unwrap_or_default(), count)
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn what_a_webhook_adds_to_a_pod_is_told_once_and_the_archive_is_ready() {
    let Some(mut site) = site("webhook-adds").await else { return };
    site.mutate(PROXY).await;
    site.start(site.operator_client().await, DialOverrides::default()).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    let env = "StatefulSet main-all at /spec/template/spec/containers";
    site.until::<ArchiveCore>("main", "tells of it", drifted([env, "Deployment main-prober", "by unknown"]))
        .await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    let note =
        is_told(&site, "StatefulSet main-all was changed by unknown at /spec/template/spec/containers").await;
    assert_eq!(note.related.unwrap().kind.as_deref(), Some("StatefulSet"));
    let once = [("main-all".to_owned(), 1), ("main-prober".to_owned(), 1)];
    let mark = site.quiet().await;
    site.pass("main").await;
    site.quiet().await;
    assert_eq!(site.writes_since(mark), [], "the operator fights");
    assert_eq!(told(&site).await, once);

    // What somebody else does beside it is undone, and told of as ever.
    let alien = PatchParams { field_manager: Some("an-alien".to_owned()), ..PatchParams::default() };
    let hole = json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
    site.api::<StatefulSet>().patch("main-all", &alien, &Patch::Strategic(&hole)).await.unwrap();
    is_told(&site, "StatefulSet main-all was changed by an-alien and is as built again").await;
    let set = site.api::<StatefulSet>().get("main-all").await.unwrap();
    let pod = set.spec.unwrap().template.spec.unwrap();
    assert_eq!((pod.host_network.unwrap_or(false), pod.containers[0].env.is_some()), (false, true));
    assert_eq!(told(&site).await, once);

    // An operator that starts anew tries once more.
    site.stop().await;
    site.mutate_no_more().await;
    site.start(site.operator_client().await, DialOverrides::default()).await;
    site.until::<ArchiveCore>("main", "is as built", is("Drifted", "False", "Reconciled")).await;
    let set = site.api::<StatefulSet>().get("main-all").await.unwrap();
    assert_eq!(container_of(&json!(set)).get("env"), None);
}

#[tokio::test]
async fn what_a_webhook_changes_is_not_fought_and_policies_are_delivered() {
    let Some(mut site) = site("webhook-changes").await else { return };
    let mut pod = Pod::new();
    site.mutate(MIRROR).await;
    let dialled = overrides(&site, &pod);
    let begun = site.mark();
    site.start(site.operator_client().await, dialled).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    let image = "StatefulSet main-all at /spec/template/spec/containers/0/image, by unknown";
    site.until::<ArchiveCore>("main", "tells of it", drifted([image])).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(&site).await;
    pod.start();
    site.apply::<RetentionPolicy>(retention_policy("books", "main", 10)).await;
    site.until::<RetentionPolicy>("books", "is in force", is("Ready", "True", "Reconciled")).await;
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    site.pass("main").await;
    site.quiet().await;
    let is_write =
        |request: &&Request| request.right.resource == "statefulsets" && request.name == "main-all";
    let writes = site.writes_since(begun);
    assert_eq!(writes.iter().filter(is_write).count(), 1, "{writes:?}");
    assert_eq!(image_of(&site, "main-all").await, "mirror.test/openarchive:0.1.0");
    assert_eq!(told(&site).await, [("main-all".to_owned(), 1), ("main-prober".to_owned(), 1)]);
}

#[tokio::test]
async fn services_start_in_order_though_a_webhook_changes_them_and_a_job_stays_as_it_was_made() {
    let Some(mut site) = site("webhook-order").await else { return };
    site.mutate(MIRROR).await;
    site.start(site.operator_client().await, DialOverrides::default()).await;
    database(&site).await;
    site.apply::<ArchiveCore>(distributed("main", "0.1.0", 1)).await;
    let missing = is("Stalled", "True", "EngineNotAvailable");
    site.until::<ArchiveCore>("main", "has every service", move |archive: Option<&ArchiveCore>| {
        let services = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.services);
        missing.matches_object(archive)
            && services.is_some_and(|services| services.iter().all(|one| one.waiting_for.is_none()))
    })
    .await;
    let job = site.api::<Job>().list(&ListParams::default()).await.unwrap().items[0].name_any();
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    let text = serde_json::to_string(&archive.status).unwrap();
    assert!(text.contains(&format!("Job {job} at /spec/template/spec/containers/0/image")), "{text}");

    // What can be changed is as built again; a Job's pods cannot, and nothing stalls for that.
    site.stop().await;
    site.mutate_no_more().await;
    site.start(site.operator_client().await, DialOverrides::default()).await;
    is_told(&site, "Deployment main-gateway was changed by").await;
    site.until::<ArchiveCore>("main", "has the Job alone", move |archive: Option<&ArchiveCore>| {
        let conditions = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.conditions);
        conditions.into_iter().flatten().any(|one| {
            one.type_ == "Drifted" && one.message.contains(&job) && !one.message.contains("Deployment")
        })
    })
    .await;
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert_eq!(condition(&archive, "Stalled").unwrap().1, "EngineNotAvailable");
}
