//! The operator's rights: every one of them is used, and nothing is asked for beyond them.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service};
use kube::api::DeleteParams;
use openarchive_operator_api::{
    ANNOTATION_ABANDON, ArchiveCore, EdgeAgent, NetworkPolicySet, RetentionPolicy,
};
use openarchive_operator_cluster::{Right, audit::Request};
use openarchive_operator_controller::rbac::{self, RIGHTS};
use serde_json::json;

use crate::{
    life::{agent, born, changed, rolled_out},
    pod::{Pod, overrides},
    support::{self, Site, has, is, site},
};

/// The rights that `request` needed. Server-side apply of what is not there yet needs two; the log names one.
fn needed(request: &Request) -> Vec<Right> {
    let mut needed = vec![request.right.clone()];
    if request.right.verb == "patch" && request.code == 201 {
        needed.push(Right { verb: "create".to_owned(), ..request.right.clone() });
    }
    needed
}

pub(crate) fn table() -> BTreeSet<Right> {
    let verbs = |right: &'static rbac::Right| {
        right.verbs.iter().map(|verb| Right::new(right.group, right.resource, verb))
    };
    RIGHTS.iter().flat_map(verbs).collect()
}

/// Of a namespace's operator, from its start: nothing was refused, and nothing was asked outside the namespace.
fn used(site: &Site) -> BTreeSet<Right> {
    let requests = site.requests_since(site.begun);
    let refused: BTreeSet<_> = requests.iter().filter(|one| one.code == 403).map(|one| &one.right).collect();
    assert!(refused.is_empty(), "the table is too short: {refused:?}");
    let outside: Vec<_> = requests.iter().filter(|one| one.namespace != site.namespace).collect();
    assert!(outside.is_empty(), "outside its namespace: {outside:?}");
    requests.iter().flat_map(needed).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_rights_is_neither_short_nor_long() {
    let table = table();
    // Side by side: each has its own archive `main`, and an operator with the rights of the table and no other.
    let (standalone, distributed) = tokio::join!(standalone(), distributed());
    let (Some(standalone), Some(distributed)) = (standalone, distributed) else { return };
    let used = &standalone | &distributed;
    let unused: Vec<_> = table.difference(&used).collect();
    let missing: Vec<_> = used.difference(&table).collect();
    assert!(unused.is_empty() && missing.is_empty(), "unused: {unused:#?}\nmissing: {missing:#?}");
}

/// An archive that runs, with everything that may refer to it, to its end.
async fn standalone() -> Option<BTreeSet<Right>> {
    let mut site = site("rights").await?;
    let mut pod = Pod::new();
    let (client, dialled) = (site.operator_client().await, overrides(&site, &pod));
    site.start(client, dialled).await;
    born(&site).await;
    changed(&site).await;
    // Agents outside reach it through the nodes.
    let mut exposed = support::standalone("main");
    exposed["spec"]["exposure"] =
        json!({"ingest": {"type": "NodePort", "hostnames": ["archive.example.org"]}});
    site.apply::<ArchiveCore>(exposed).await;
    site.until::<Service>("main-ingest-public", "is there", |one: Option<&Service>| one.is_some()).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    site.until::<RetentionPolicy>("books", "is in force", is("Ready", "True", "")).await;
    site.until::<EdgeAgent>("outside", "may enrol", is("Ready", "True", "")).await;
    // Of an agent that never spoke nobody knows what it holds: a person gives it up.
    site.cluster.node().unwrap().hold(&site.namespace, &[("app.kubernetes.io/component", "edge")]);
    site.apply::<EdgeAgent>(agent("inside", "main", "InCluster")).await;
    site.until::<StatefulSet>("inside-edge", "is there", |set: Option<&StatefulSet>| set.is_some()).await;
    site.until::<EdgeAgent>("inside", "waits for its pod", is("Reconciling", "True", "RolloutPending")).await;

    let now = DeleteParams::default();
    let given_up = json!({"metadata": {"annotations": {ANNOTATION_ABANDON: "true"}}});
    let merge = kube::api::Patch::Merge(&given_up);
    site.api::<EdgeAgent>().patch("inside", &kube::api::PatchParams::default(), &merge).await.unwrap();
    for name in ["inside", "outside"] {
        site.api::<EdgeAgent>().delete(name, &now).await.unwrap();
        site.until::<EdgeAgent>(name, "is gone", |agent: Option<&EdgeAgent>| agent.is_none()).await;
    }
    site.api::<RetentionPolicy>().delete("books", &now).await.unwrap();
    site.api::<NetworkPolicySet>().delete("written", &now).await.unwrap();
    site.until::<NetworkPolicySet>("main", "is back", |set: Option<&NetworkPolicySet>| set.is_some()).await;
    site.api::<ArchiveCore>().delete("main", &now).await.unwrap();
    site.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    site.quiet().await;
    site.stop().await;
    Some(used(&site))
}

async fn distributed() -> Option<BTreeSet<Right>> {
    let mut site = site("rights-distributed").await?.with_operator().await;
    rolled_out(&site).await;
    site.quiet().await;
    site.stop().await;
    Some(used(&site))
}
