//! Profile Distributed from version to version: a migration that fails, and the way back to the former version.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::Condition,
};
use openarchive_operator_api::ArchiveCore;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::{
    kstatus::Standing,
    life::{database, distributed, runs},
    reviewed::is_told,
    support::{Site, WAIT, is, names, site},
};

const MIGRATION: [(&str, &str); 1] = [("app.kubernetes.io/component", "migrate")];
const STORAGE: [(&str, &str); 1] = [("app.kubernetes.io/component", "storage")];
const SERVICES: [&str; 6] = ["gateway", "index", "ingest", "storage", "trust", "worker"];

/// Name of the one Job, which carries what it migrates to.
async fn migration(site: &Site) -> String {
    let begun = Instant::now();
    loop {
        if let [job] = names::<Job>(site, "main").await.as_slice() {
            return job.clone();
        }
        assert!(begun.elapsed() < WAIT, "there is no Job");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The versions that the services were applied in, in the order of [`SERVICES`].
async fn versions(site: &Site) -> [String; 6] {
    let mut versions = <[String; 6]>::default();
    for (version, service) in versions.iter_mut().zip(SERVICES) {
        let deployment = site.api::<Deployment>().get(&format!("main-{service}")).await.unwrap();
        let image = deployment.spec.unwrap().template.spec.unwrap().containers[0].image.clone().unwrap();
        image.rsplit_once(':').unwrap().1.clone_into(version);
    }
    versions
}

fn waits(service: &'static str, what: &'static str) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        let services = archive.and_then(|archive| archive.status.as_ref()).map(|status| &status.services);
        services.into_iter().flatten().any(|one| {
            one.name == service && one.waiting_for.as_deref().is_some_and(|found| found.contains(what))
        })
    }
}

#[tokio::test]
async fn a_failed_migration_stops_the_rollout_and_a_version_goes_back_as_it_came() {
    let Some(site) = site("rollout").await else { return };
    let node = site.cluster.node().unwrap();
    node.fail(&site.namespace, &MIGRATION);
    let site = site.with_operator().await;
    database(&site).await;
    site.apply::<ArchiveCore>(distributed("main", "0.1.0", 1)).await;
    let job = migration(&site).await;
    site.until::<Job>(&job, "has tried", |job: Option<&Job>| {
        job.and_then(|job| job.status.as_ref()?.failed).is_some_and(|failed| failed > 0)
    })
    .await;
    // Kubernetes pauses longer and longer between the tries, minutes in all: somebody's deadline ends them.
    let deadline = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 1}}));
    site.api::<Job>().patch(&job, &PatchParams::default(), &deadline).await.unwrap();
    site.until::<ArchiveCore>("main", "is stalled", is("Stalled", "True", "MigrationFailed")).await;
    assert_eq!(site.standing::<ArchiveCore>("main").await, Standing::Failed);
    is_told(&site, &format!("Job {job} failed: read its log, mend the cause, delete the Job")).await;
    assert_eq!(
        names::<Deployment>(&site, "main").await,
        ["main-prober"],
        "a service starts without its database"
    );

    // The cause is mended.
    let node = site.cluster.node().unwrap();
    node.release(&site.namespace, &MIGRATION);
    site.api::<Job>().delete(&job, &DeleteParams::background()).await.unwrap();
    site.until::<ArchiveCore>("main", "is rolled out", runs("0.1.0")).await;
    assert_eq!(migration(&site).await, job);
    site.apply::<ArchiveCore>(distributed("main", "0.2.0", 1)).await;
    site.until::<ArchiveCore>("main", "is rolled out", runs("0.2.0")).await;
    assert_ne!(migration(&site).await, job);

    // And back: the migration first, then each stage behind the one before.
    node.hold(&site.namespace, &MIGRATION);
    node.hold(&site.namespace, &STORAGE);
    site.apply::<ArchiveCore>(distributed("main", "0.1.0", 1)).await;
    site.until::<ArchiveCore>("main", "waits", waits("trust", "the database to be migrated")).await;
    assert_eq!(versions(&site).await, ["0.2.0"; 6]);
    node.release(&site.namespace, &MIGRATION);
    site.until::<ArchiveCore>("main", "waits", waits("gateway", "storage to be rolled out")).await;
    assert_eq!(versions(&site).await, ["0.2.0", "0.2.0", "0.2.0", "0.1.0", "0.1.0", "0.2.0"]);
    node.release(&site.namespace, &STORAGE);
    site.until::<ArchiveCore>("main", "is rolled out", runs("0.1.0")).await;
    assert_eq!(versions(&site).await, ["0.1.0"; 6]);
    assert_eq!(migration(&site).await, job);
}
