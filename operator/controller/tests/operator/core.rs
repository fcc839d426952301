//! The operator and a real archive. Configurations are recorded in its ledger, retention policies acknowledged.

use std::{process::Command, time::Duration};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use openarchive_e2e::program;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, RetentionPolicy};
use openarchive_operator_snapshot::{GenerationRange, Link};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    kstatus::Standing,
    life::agent,
    pod::{Pod, chain, core, overrides, with_tenants},
    reviewed::{is_told, warnings},
    support::{Site, WAIT, condition, has, site, standalone},
};

#[tokio::test]
async fn every_applied_configuration_is_a_leaf_of_the_archive_in_order() {
    let Some(mut site) = site("recorded").await else { return };
    let mut pod = Pod::new();
    let client = site.operator_client().await;
    let dialled = overrides(&site, &pod);
    site.start(client, dialled).await;

    // Before the archive runs: kept, and waits.
    site.apply::<ArchiveCore>(with_tenants(1)).await;
    site.until::<ArchiveCore>("main", "keeps its configuration", has("AuditRecorded", "False")).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    // Ten changes, each awaited; the archive is away for some of them.
    for tenants in 2..=5 {
        change(&site, tenants, "True").await;
    }
    pod.stop();
    for tenants in 6..=8 {
        change(&site, tenants, "False").await;
    }
    pod.mount(&site).await;
    pod.start();
    for tenants in 9..=11 {
        change(&site, tenants, "True").await;
    }
    // Of two changes that no operator saw, the first was never applied.
    site.stop().await;
    for tenants in [12, 13] {
        site.apply::<ArchiveCore>(with_tenants(tenants)).await;
    }
    let (client, dialled) = (site.operator_client().await, overrides(&site, &pod));
    site.start(client, dialled).await;
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    let folder = tempfile::tempdir().unwrap();
    let core = core(&site, &pod, folder.path()).await;
    let whole = chain(&site, &core).await;
    assert!(whole.findings.is_empty(), "{:?}", whole.findings);
    assert!(whole.pending.is_empty());
    let generations: Vec<_> =
        whole.recorded.iter().map(|link| link.snapshot.as_ref().unwrap().generation()).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13]);
    let skipped = |link: &Link| link.snapshot.as_ref().unwrap().skipped_generations().to_vec();
    let (newest, before) = whole.recorded.split_last().unwrap();
    assert_eq!(skipped(newest), [GenerationRange { first: 12, last: 12 }]);
    assert!(before.iter().all(|link| skipped(link).is_empty()));
    // The status names the leaf.
    let status = site.api::<ArchiveCore>().get("main").await.unwrap().status.unwrap();
    assert_eq!(status.observed_generation, Some(13));
    let last = status.last_snapshot.unwrap();
    assert_eq!(last.sha256, newest.snapshot.as_ref().unwrap().digest().hex());
    assert_eq!(last.ledger_index, i64::try_from(newest.recorded.index).unwrap());
    assert_eq!(last.recorded_at, newest.recorded.time.to_string());

    // What is deleted, or deleted and made again with other data, is found.
    let kept = site.api::<ControllerRevision>();
    let mut revisions = kept.list(&ListParams::default()).await.unwrap().items;
    revisions.retain(|revision| revision.name_any().starts_with("main-config-"));
    revisions.sort_by_key(|revision| revision.revision);
    kept.delete(&revisions[2].name_any(), &DeleteParams::default()).await.unwrap();
    assert_eq!(chain(&site, &core).await.findings.len(), 1);
    let mut other = revisions[4].clone();
    kept.delete(&other.name_any(), &DeleteParams::default()).await.unwrap();
    other.metadata.resource_version = None;
    other.metadata.uid = None;
    other.data.as_mut().unwrap().0["spec"]["version"] = json!("6.6.6");
    kept.create(&kube::api::PostParams::default(), &other).await.unwrap();
    let findings = chain(&site, &core).await.findings;
    assert!(findings.len() >= 2, "{findings:?}");

    // The newest one deleted: what comes next follows what the ledger says.
    let newest = revisions.last().unwrap().name_any();
    kept.delete(&newest, &DeleteParams::default()).await.unwrap();
    site.apply::<ArchiveCore>(with_tenants(14)).await;
    site.until::<ArchiveCore>("main", "records the next one", |archive: Option<&ArchiveCore>| {
        let generation = archive.and_then(|archive| archive.metadata.generation);
        let recorded = archive.and_then(|archive| archive.status.as_ref()?.last_snapshot.as_ref());
        generation == Some(14) && recorded.is_some_and(|now| now.ledger_index > last.ledger_index)
    })
    .await;
    assert_eq!(chain(&site, &core).await.recorded.last().unwrap().ordinal, 13);
}

/// The next configuration, until it is applied and its record stands so.
async fn change(site: &Site, tenants: usize, recorded: &'static str) {
    let generation = site.apply::<ArchiveCore>(with_tenants(tenants)).await.metadata.generation;
    site.until::<ArchiveCore>("main", "is applied", move |archive: Option<&ArchiveCore>| {
        archive.and_then(|archive| archive.status.as_ref()?.observed_generation) == generation
    })
    .await;
    site.until::<ArchiveCore>("main", "has it on record, or waits", has("AuditRecorded", recorded)).await;
}

#[tokio::test]
async fn a_change_of_an_agent_is_a_configuration_of_its_archive() {
    let Some(site) = site("agents-kept").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    let kept = async || {
        let mut kept = site.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap().items;
        kept.retain(|revision| revision.name_any().starts_with("main-config-"));
        kept.sort_by_key(|revision| revision.revision);
        kept
    };
    let grows = async |count: usize| {
        let begun = Instant::now();
        while kept().await.len() < count {
            assert!(begun.elapsed() < WAIT, "no further configuration is kept");
            sleep(Duration::from_millis(50)).await;
        }
    };
    grows(1).await;
    site.apply::<EdgeAgent>(agent("outside", "main", "External")).await;
    grows(2).await;
    site.apply::<EdgeAgent>(agent("inside", "main", "InCluster")).await;
    grows(3).await;
    let mut inside = agent("inside", "main", "InCluster");
    inside["spec"]["listeners"][0]["peers"][0]["cidrs"] = json!(["192.0.2.0/24"]);
    site.apply::<EdgeAgent>(inside.clone()).await;
    grows(4).await;

    // What happens to an agent is no change of what is specified.
    site.until::<EdgeAgent>("inside", "is looked at", |agent: Option<&EdgeAgent>| {
        agent.is_some_and(|agent| agent.status.is_some())
    })
    .await;
    inside["metadata"]["annotations"] = json!({"a-person": "was here"});
    site.apply::<EdgeAgent>(inside).await;
    site.pass("main").await;
    assert_eq!(kept().await.len(), 4);

    // As an auditor reads it.
    let kubeconfig = site.cluster.kubeconfig("auditor", Some("system:masters")).unwrap();
    let diff = |from: &str, to: &str| {
        let mut command = Command::new(program("kubectl-archive"));
        command.env("KUBECONFIG", &kubeconfig).args(["--namespace", &site.namespace]);
        let output = command.args(["config", "diff", "main", from, to, "--without-ledger"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let new = diff("1", "2");
    assert!(new.lines().any(|line| line.starts_with("+ ") && line.contains("EdgeAgent")), "{new}");
    assert!(new.contains("outside"), "{new}");
    let changed = diff("3", "4");
    assert!(changed.contains("EdgeAgent") && changed.contains("192.0.2.0/24"), "{changed}");
    assert!(!changed.contains("outside"), "{changed}");
    // With what it opens in the network.
    assert!(changed.contains("NetworkPolicy"), "{changed}");
}

#[tokio::test]
async fn a_retention_policy_is_acknowledged_and_what_is_locked_stays_in_the_archive() {
    let Some(mut site) = site("policies").await else { return };
    let mut pod = Pod::new();
    let client = site.operator_client().await;
    let dialled = overrides(&site, &pod);
    site.start(client, dialled).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(&site).await;
    pod.start();

    let policy = |years: u32| {
        json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "books"},
            "spec": {"archiveRef": {"name": "main"}, "keepFor": {"years": years}, "startFrom": "YearEnd", "locked": true},
        })
    };
    site.apply::<RetentionPolicy>(policy(10)).await;
    let acknowledged = |generation: i64| {
        move |policy: Option<&RetentionPolicy>| {
            policy.and_then(|policy| policy.status.as_ref()).is_some_and(|status| {
                status.acknowledged_generation == Some(generation)
                    && status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
            })
        }
    };
    site.until::<RetentionPolicy>("books", "is acknowledged", acknowledged(1)).await;
    let status = site.api::<RetentionPolicy>().get("books").await.unwrap().status.unwrap();
    assert_eq!(status.class_name.as_deref(), Some("10y-yearend-forbidden"));
    assert_eq!(site.standing::<RetentionPolicy>("books").await, Standing::Current);
    let wait = ["wait", "--for=condition=Ready", "--timeout=10s", "retentionpolicy/books"];
    assert_eq!(site.kubectl(&wait).await.code, 0);
    site.apply::<RetentionPolicy>(policy(11)).await;
    site.until::<RetentionPolicy>("books", "is acknowledged again", acknowledged(2)).await;

    // The API server forgets a deleted object; the archive does not, also when a set without it is delivered.
    site.api::<RetentionPolicy>().delete("books", &DeleteParams::default()).await.unwrap();
    site.pass("main").await;
    site.apply::<RetentionPolicy>(policy(1)).await;
    site.until::<RetentionPolicy>(
        "books",
        "is refused by the archive",
        |policy: Option<&RetentionPolicy>| {
            policy.and_then(|policy| policy.status.as_ref()).is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|one| one.type_ == "Stalled" && one.status == "True" && one.reason == "LockedInCore")
            })
        },
    )
    .await;
    let status = site.api::<RetentionPolicy>().get("books").await.unwrap().status.unwrap();
    assert_eq!(status.class_name.as_deref(), Some("11y-yearend-forbidden"), "what stands is told");
    let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
    let message = ready.unwrap().message.clone();
    assert_eq!(site.standing::<RetentionPolicy>("books").await, Standing::Failed);
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert_eq!(condition(&archive, "Ready").unwrap().0, "True", "one policy does not stop the archive");
    let locked = async || {
        let mut told = warnings(&site, "books").await;
        told.retain(|(reason, _)| reason == "LockedInCore");
        told
    };
    is_told(&site, &message).await;
    let told = locked().await;
    assert_eq!(told.len(), 1, "{told:?}");
    site.pass("main").await;
    assert_eq!(locked().await, told, "it is told again, and nothing has changed");
    // The archive's process waits for its callers, and then ends at once.
    site.stop().await;
}
