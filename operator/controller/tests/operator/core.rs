//! The operator and a real archive. Configurations are recorded in its ledger, retention policies acknowledged.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use openarchive_operator_api::{ArchiveCore, RetentionPolicy};
use serde_json::json;

use crate::{
    kstatus::Standing,
    pod::{Pod, chain, core, overrides, with_tenants},
    support::{condition, has, site, standalone},
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

    // Each change, awaited; the archive is away for some of them.
    for tenants in 2..=5 {
        site.apply::<ArchiveCore>(with_tenants(tenants)).await;
        site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    }
    pod.stop();
    for tenants in 6..=8 {
        site.apply::<ArchiveCore>(with_tenants(tenants)).await;
        site.until::<ArchiveCore>("main", "waits", has("AuditRecorded", "False")).await;
    }
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    let folder = tempfile::tempdir().unwrap();
    let core = core(&site, &pod, folder.path()).await;
    let whole = chain(&site, &core).await;
    assert!(whole.findings.is_empty(), "{:?}", whole.findings);
    assert!(whole.pending.is_empty());
    let generations: Vec<_> =
        whole.recorded.iter().map(|link| link.snapshot.as_ref().unwrap().generation()).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5, 6, 7, 8]);
    let status = site.api::<ArchiveCore>().get("main").await.unwrap().status.unwrap();
    let last = status.last_snapshot.unwrap();
    assert_eq!(last.sha256, whole.recorded.last().unwrap().snapshot.as_ref().unwrap().digest().hex());

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
    site.apply::<ArchiveCore>(with_tenants(9)).await;
    site.until::<ArchiveCore>("main", "records the next one", |archive: Option<&ArchiveCore>| {
        let generation = archive.and_then(|archive| archive.metadata.generation);
        let recorded = archive.and_then(|archive| archive.status.as_ref()?.last_snapshot.as_ref());
        generation == Some(9) && recorded.is_some_and(|now| now.ledger_index > last.ledger_index)
    })
    .await;
    assert_eq!(chain(&site, &core).await.recorded.last().unwrap().ordinal, 9);
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
    site.apply::<RetentionPolicy>(policy(11)).await;
    site.until::<RetentionPolicy>("books", "is acknowledged again", acknowledged(2)).await;

    // The API server forgets a deleted object; the archive does not.
    site.api::<RetentionPolicy>().delete("books", &DeleteParams::default()).await.unwrap();
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
    assert_eq!(site.standing::<RetentionPolicy>("books").await, Standing::Failed);
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert_eq!(condition(&archive, "Ready").unwrap().0, "True", "one policy does not stop the archive");
}
