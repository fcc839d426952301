//! An ArchiveCore of profile Standalone through its life.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    life::{database, enforced, inventory, network_policy_set},
    reviewed::{is_told, warnings},
    support::{Site, WAIT, condition, has, is, names, site, standalone, state},
};

/// From somebody else's write until it is undone, on a busy machine; by itself it takes well under a second.
const CORRECTION_MAX: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_archive_becomes_ready_and_a_second_pass_writes_nothing() {
    let Some(site) = site("ready").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    assert_eq!(names::<StatefulSet>(&site, "main").await, ["main-all"]);
    assert_eq!(names::<Service>(&site, "main").await, ["main-all", "main-prober"]);
    assert_eq!(names::<ServiceAccount>(&site, "main").await, ["main-all", "main-prober"]);
    assert_eq!(names::<ConfigMap>(&site, "main").await, ["main-config", "main-prober-config"]);
    assert_eq!(
        names::<Secret>(&site, "main").await,
        ["main-agents-ca", "main-all-tls", "main-ca", "main-operator-tls", "main-snapshot-mac"]
    );
    site.until::<NetworkPolicySet>("main", "is ready", |set: Option<&NetworkPolicySet>| {
        set.and_then(|set| set.status.as_ref()).is_some_and(|status| !status.policies.is_empty())
    })
    .await;
    let policies = names::<NetworkPolicy>(&site, "main").await;
    assert!(policies.contains(&"main-all".to_owned()), "{policies:?}");

    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    let status = archive.status.clone().unwrap();
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(status.certificates.len(), 4);
    assert_eq!(condition(&archive, "Stalled").unwrap().0, "False");
    assert_eq!(condition(&archive, "Reconciling").unwrap().0, "False");
    assert_eq!(condition(&archive, "Available").unwrap().0, "True");
    // Nothing answers behind the names of this cluster: the configuration is kept and waits.
    assert_eq!(condition(&archive, "AuditRecorded").unwrap().0, "False");
    assert_eq!(names_of_revisions(&site).await.len(), 1);

    let mark = site.quiet().await;
    // Whatever makes the operator look again: a change that changes nothing.
    site.apply::<ArchiveCore>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
        "metadata": {"name": "main", "labels": {"seen": "again"}}, "spec": standalone("main")["spec"],
    }))
    .await;
    let begun = Instant::now();
    while !site.requests_since(mark).iter().any(|request| request.right.verb == "list") {
        assert!(begun.elapsed() < WAIT, "the operator does not look again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(site.writes_since(mark), [], "a pass over an unchanged world writes");
}

async fn names_of_revisions(site: &Site) -> Vec<String> {
    let found = site.api::<ControllerRevision>().list(&kube::api::ListParams::default()).await.unwrap();
    let ours = found.items.iter().filter(|revision| revision.name_any().starts_with("main-config-"));
    ours.map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn somebody_elses_change_is_undone_and_named() {
    let Some(site) = site("drift").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.quiet().await;

    let alien = PatchParams { field_manager: Some("an-alien".to_owned()), ..PatchParams::default() };
    let services = site.api::<Service>();
    let patch = json!({"spec": {"selector": {"app.kubernetes.io/component": "elsewhere"}}});
    let begun = Instant::now();
    services.patch("main-all", &alien, &Patch::Merge(&patch)).await.unwrap();
    site.until::<Service>("main-all", "is as built again", |service: Option<&Service>| {
        let selector =
            service.and_then(|service| service.spec.as_ref()?.selector.clone()).unwrap_or_default();
        selector.get("app.kubernetes.io/component").is_some_and(|component| component == "all")
    })
    .await;
    let mut corrections = vec![begun.elapsed()];

    let policies = site.api::<NetworkPolicy>();
    let open = json!({"spec": {"ingress": [{}]}});
    policies.patch("main-all", &alien, &Patch::Merge(&open)).await.unwrap();
    site.until::<NetworkPolicySet>("main", "tells of the drift", |set: Option<&NetworkPolicySet>| {
        let policies =
            set.and_then(|set| set.status.as_ref()).map(|status| status.policies.clone()).unwrap_or_default();
        policies.iter().any(|policy| {
            policy.drift_corrections == 1 && policy.last_alien_manager.as_deref() == Some("an-alien")
        })
    })
    .await;
    let now = policies.get("main-all").await.unwrap().spec.unwrap().ingress.unwrap_or_default();
    assert!(now.iter().all(|rule| rule.from.is_some()), "the opened rule stands: {now:?}");

    policies.delete("main-all", &DeleteParams::default()).await.unwrap();
    site.until::<NetworkPolicySet>("main", "tells of the deletion", |set: Option<&NetworkPolicySet>| {
        let policies = set.and_then(|set| set.status.as_ref()).map(|status| &status.policies);
        policies.into_iter().flatten().any(|policy| {
            policy.drift_corrections == 2 && policy.last_alien_manager.as_deref() == Some("unknown")
        })
    })
    .await;
    assert!(policies.get_opt("main-all").await.unwrap().is_some(), "it is there again");
    let told = is_told(&site, "NetworkPolicy main-all was deleted by unknown and is made anew").await;
    assert_eq!(told.related.unwrap().name.as_deref(), Some("main-all"));

    // Where nothing was built nobody may add: not a rule, and not a selector that selects nobody.
    for hole in [
        json!({"spec": {"ingress": [{}], "egress": [{}]}}),
        json!({"spec": {"podSelector": {"matchExpressions": [{"key": "no", "operator": "Exists"}]}}}),
    ] {
        let begun = Instant::now();
        policies.patch("main-default-deny", &alien, &Patch::Merge(&hole)).await.unwrap();
        site.until::<NetworkPolicy>(
            "main-default-deny",
            "is closed again",
            |policy: Option<&NetworkPolicy>| {
                let spec = policy.and_then(|policy| policy.spec.clone()).unwrap_or_default();
                let selects = spec.pod_selector.is_some_and(|selector| selector.match_expressions.is_none());
                selects
                    && spec.ingress.unwrap_or_default().is_empty()
                    && spec.egress.unwrap_or_default().is_empty()
            },
        )
        .await;
        corrections.push(begun.elapsed());
    }
    println!("corrected after {corrections:?}");
    assert!(corrections.iter().all(|one| *one < CORRECTION_MAX), "{corrections:?}");
    // The pass that the last correction woke found everything as built.
    let begun = site.quiet().await;
    site.apply::<NetworkPolicySet>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "NetworkPolicySet",
        "metadata": {"name": "main", "labels": {"look": "again"}},
    }))
    .await;
    site.seen(begun, "networkpolicies", "list").await;
    site.quiet().await;
    let set = site.api::<NetworkPolicySet>().get("main").await.unwrap();
    assert_eq!(state(&set, "Drifted"), Some(("True".to_owned(), "DriftCorrected".to_owned())));
}

#[tokio::test]
async fn a_paused_archive_is_left_alone_until_it_goes_on() {
    let Some(site) = site("paused").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    let generation = site.api::<ArchiveCore>().get("main").await.unwrap().metadata.generation;
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    let entering = site.quiet().await;

    let mut paused = standalone("main");
    paused["spec"]["operation"] = json!({"paused": true});
    paused["spec"]["version"] = json!("0.2.0");
    site.apply::<ArchiveCore>(paused.clone()).await;
    site.until::<ArchiveCore>("main", "says that it is paused", |archive: Option<&ArchiveCore>| {
        archive
            .and_then(|archive| condition(archive, "Ready"))
            .is_some_and(|(status, reason, _)| status == "Unknown" && reason == "Paused")
    })
    .await;
    site.until::<NetworkPolicySet>("main", "waits", is("Reconciling", "True", "Paused")).await;
    let mark = site.quiet().await;
    let writes = site.writes_since(entering);
    let to_status = writes.iter().filter(|request| request.right.resource == "archivecores/status");
    assert_eq!(to_status.count(), 1, "{writes:?}");
    site.api::<Service>().delete("main-all", &DeleteParams::default()).await.unwrap();
    site.api::<NetworkPolicy>().delete("main-default-deny", &DeleteParams::default()).await.unwrap();
    paused["spec"]["exposure"] = json!({"ingest": {
        "type": "LoadBalancer", "hostnames": ["in.archive.example.org"], "allowedCIDRs": ["192.0.2.0/24"],
    }});
    site.apply::<ArchiveCore>(paused.clone()).await;
    // The set looks at its archive.
    site.seen(mark, "archivecores", "get").await;
    site.quiet().await;
    assert_eq!(site.writes_since(mark), [], "a paused archive is written to");
    assert!(site.api::<NetworkPolicy>().get_opt("main-default-deny").await.unwrap().is_none());
    let status = site.api::<ArchiveCore>().get("main").await.unwrap().status.unwrap();
    assert_eq!(status.observed_generation, generation, "the observed generation is frozen");

    paused["spec"]["operation"] = json!({"paused": false});
    site.apply::<ArchiveCore>(paused).await;
    let version = |archive: Option<&ArchiveCore>| {
        archive
            .and_then(|archive| archive.status.as_ref()?.version.clone())
            .is_some_and(|version| version == "0.2.0")
    };
    site.until::<ArchiveCore>("main", "runs 0.2.0", version).await;
    assert_eq!(names::<Service>(&site, "main").await, ["main-all", "main-ingest-public", "main-prober"]);
    let told = is_told(&site, "StatefulSet main-all starts its pods anew").await;
    assert_eq!((told.reason.as_deref(), told.type_.as_deref()), (Some("VersionChanged"), Some("Normal")));
    is_told(&site, "NetworkPolicy main-default-deny was deleted by unknown and is made anew").await;
}

#[tokio::test]
async fn deleting_an_archive_leaves_keys_volumes_and_history() {
    let Some(site) = site("deleted").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    site.quiet().await;
    let secrets = || async {
        let names = names::<Secret>(&site, "main").await;
        let mut data = BTreeMap::new();
        for name in names {
            data.insert(name.clone(), site.api::<Secret>().get(&name).await.unwrap().data);
        }
        data
    };
    let (before, revisions) = (secrets().await, names_of_revisions(&site).await);
    assert_eq!(revisions.len(), 1);
    site.api::<ArchiveCore>().delete("main", &DeleteParams::background()).await.unwrap();
    // It never had a ledger that must learn of its end.
    site.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    // What it owned goes by the garbage collector.
    let begun = Instant::now();
    loop {
        let mut left = inventory(&site).await;
        left.remove("Secret");
        if left.values().all(Vec::is_empty) {
            break;
        }
        assert!(begun.elapsed() < WAIT, "it is left behind: {left:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(secrets().await, before);
    let kept = names_of_revisions(&site).await;
    assert!(revisions.iter().all(|revision| kept.contains(revision)), "{kept:?}");
    let claims = site.api::<PersistentVolumeClaim>().list(&kube::api::ListParams::default()).await.unwrap();
    assert_eq!(claims.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["data-main-all-0"]);

    // The same archive again finds its keys.
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready again", has("Ready", "True")).await;
    assert_eq!(secrets().await, before);
}

#[tokio::test]
async fn the_archives_own_network_policies_come_back_when_a_written_set_goes() {
    let Some(site) = site("given-way").await else { return };
    let site = site.with_operator().await;
    let closed = async || site.api::<NetworkPolicy>().get_opt("main-default-deny").await.unwrap().is_some();
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
    let policies = names::<NetworkPolicy>(&site, "main").await;
    site.apply::<NetworkPolicySet>(network_policy_set("written", "main", "Enforce")).await;
    site.until::<NetworkPolicySet>("main", "has given way", |set: Option<&NetworkPolicySet>| set.is_none())
        .await;
    site.until::<NetworkPolicySet>("written", "is enforced", enforced).await;
    assert!(closed().await);
    // Deleted twice: the archive's own is made again as well.
    for name in ["written", "main"] {
        let of = site.api::<NetworkPolicySet>().get(name).await.unwrap().uid();
        site.api::<NetworkPolicySet>().delete(name, &DeleteParams::default()).await.unwrap();
        site.until::<NetworkPolicySet>("main", "is enforced", move |set: Option<&NetworkPolicySet>| {
            set.is_some_and(|found| found.uid() != of) && enforced(set)
        })
        .await;
        // The garbage collector takes those of the set before; they are made anew until they stand.
        let begun = Instant::now();
        while names::<NetworkPolicy>(&site, "main").await != policies || !owned_by_set(&site).await {
            assert!(begun.elapsed() < WAIT, "{:?}", names::<NetworkPolicy>(&site, "main").await);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    site.quiet().await;
    assert_eq!(names::<NetworkPolicy>(&site, "main").await, policies);
}

/// Every policy belongs to the set `main` that stands.
async fn owned_by_set(site: &Site) -> bool {
    let set = site.api::<NetworkPolicySet>().get("main").await.unwrap().uid();
    let policies = site.api::<NetworkPolicy>().list(&kube::api::ListParams::default()).await.unwrap();
    let owner = |policy: &NetworkPolicy| policy.owner_references().first().map(|owner| owner.uid.clone());
    policies.items.iter().all(|policy| owner(policy) == set)
}

#[tokio::test]
async fn an_archive_that_cannot_be_does_not_stop_the_others_and_says_what_to_do() {
    let Some(site) = site("bad").await else { return };
    let site = site.with_operator().await;
    // Somebody else's object of the name that we would use.
    site.apply::<Service>(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad-all"},
        "spec": {"ports": [{"port": 80}]},
    }))
    .await;
    site.apply::<ArchiveCore>(standalone("bad")).await;
    site.apply::<ArchiveCore>(standalone("good")).await;
    site.until::<ArchiveCore>("good", "is ready", has("Ready", "True")).await;
    site.until::<ArchiveCore>("bad", "is stalled", has("Stalled", "True")).await;
    let bad = site.api::<ArchiveCore>().get("bad").await.unwrap();
    assert_eq!(condition(&bad, "Ready").unwrap().1, "NotOurs");
    let service = site.api::<Service>().get("bad-all").await.unwrap();
    assert!(service.labels().is_empty(), "somebody else's object is left alone");
    is_told(&site, "Service bad-all is there already").await;
    let told = warnings(&site, "bad").await;
    assert_eq!(told.iter().map(|(reason, _)| &**reason).collect::<Vec<_>>(), ["NotOurs"]);
    site.pass("bad").await;
    assert_eq!(warnings(&site, "bad").await, told, "it is told again, and nothing has changed");
}

#[tokio::test]
async fn services_start_in_order_behind_the_migration_and_the_missing_engine_is_told() {
    let Some(site) = site("order").await else { return };
    let migration = [("app.kubernetes.io/component", "migrate")];
    let storage = [("app.kubernetes.io/component", "storage")];
    site.cluster.node().unwrap().hold(&site.namespace, &migration);
    site.cluster.node().unwrap().hold(&site.namespace, &storage);
    let site = site.with_operator().await;
    database(&site).await;
    let mut archive = standalone("main");
    archive["spec"]["profile"] = json!("Distributed");
    archive["spec"]["database"] = json!({"adminSecretRef": {"name": "database"}});
    archive["spec"]["objectStore"] = json!({
        "endpoint": "https://s3.storage.svc", "bucket": "mail", "keyBucket": "mail-keys", "secretRef": {"name": "s3"},
    });
    site.apply::<ArchiveCore>(archive).await;

    let waits_for = |service: &'static str, what: &'static str| {
        move |archive: Option<&ArchiveCore>| {
            let services = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.services);
            services.into_iter().flatten().any(|one| {
                one.name == service && one.waiting_for.as_deref().is_some_and(|found| found.contains(what))
            })
        }
    };
    site.until::<ArchiveCore>(
        "main",
        "waits for the migration",
        waits_for("trust", "the database to be migrated"),
    )
    .await;
    assert_eq!(names::<Deployment>(&site, "main").await, ["main-prober"]);

    site.cluster.node().unwrap().release(&site.namespace, &migration);
    site.until::<ArchiveCore>("main", "waits for storage", waits_for("gateway", "storage to be rolled out"))
        .await;
    assert_eq!(names::<Deployment>(&site, "main").await, ["main-prober", "main-storage", "main-trust"]);

    site.cluster.node().unwrap().release(&site.namespace, &storage);
    site.until::<Deployment>("main-gateway", "is there", |one: Option<&Deployment>| one.is_some()).await;
    site.until::<ArchiveCore>("main", "says what is missing", |archive: Option<&ArchiveCore>| {
        archive.is_some_and(|archive| {
            condition(archive, "Stalled")
                .is_some_and(|(status, reason, _)| status == "True" && reason == "EngineNotAvailable")
                && condition(archive, "Available").is_some_and(|(status, ..)| status == "True")
        })
    })
    .await;
    let policies = site
        .until::<NetworkPolicySet>("main", "has its policies", |set: Option<&NetworkPolicySet>| {
            set.and_then(|set| set.status.as_ref()).is_some_and(|status| status.policies.len() > 6)
        })
        .await;
    let text = serde_json::to_string(&policies).unwrap();
    assert!(!text.contains("secret@"), "the database's password is told");
}
