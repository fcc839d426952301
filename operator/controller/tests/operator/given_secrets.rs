//! The Secrets that the pods of profile Distributed name: some the operator makes, once; others only people can give.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{PodTemplateSpec, Secret},
    events::v1::Event,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::Condition,
};
use openarchive_operator_api::ArchiveCore;
use serde_json::json;

use crate::{
    life::{database, distributed},
    support::{Site, has, is, names, site},
};

/// Made once: their loss would lose mail, or the way to it.
const ONCE: [&str; 2] = ["main-keys", "main-database-passwords"];

fn rolled_out() -> impl Condition<ArchiveCore> {
    |archive: Option<&ArchiveCore>| {
        is("Stalled", "True", "EngineNotAvailable").matches_object(archive)
            && has("Available", "True").matches_object(archive)
    }
}

/// The archive waits, or is stopped, for this.
fn lacks(type_: &'static str, what: &'static str) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        let conditions = archive.iter().filter_map(|archive| archive.status.as_ref());
        let mut found = conditions.flat_map(|status| &status.conditions).filter(|one| one.type_ == type_);
        found.any(|one| {
            one.status == "True" && one.reason == "ReferenceNotFound" && one.message.contains(what)
        })
    }
}

/// Nothing tells the operator of somebody else's Secret: it looks now instead of soon.
async fn look(site: &Site, why: &str) {
    let touched = json!({"metadata": {"annotations": {"test/touched": why}}});
    let archives = site.api::<ArchiveCore>();
    archives.patch("main", &PatchParams::default(), &Patch::Merge(&touched)).await.unwrap();
}

fn named(template: Option<PodTemplateSpec>) -> Vec<String> {
    let volumes = template.and_then(|template| template.spec?.volumes).unwrap_or_default();
    volumes.into_iter().filter_map(|volume| volume.secret?.secret_name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_that_a_pod_names_is_there_before_it_and_what_is_made_once_is_never_made_again() {
    let Some(site) = site("given-secrets").await else { return };
    let site = site.with_operator().await;
    site.apply::<ArchiveCore>(distributed("main", "0.1.0", 1)).await;
    site.until::<ArchiveCore>("main", "waits", lacks("Reconciling", "Secret database")).await;
    assert_eq!(names::<Job>(&site, "main").await, [""; 0], "a Job names a Secret that is not there");
    let url = json!({"url": "postgres://owner:secret@db.databases.svc:5432/mail"});
    site.apply::<Secret>(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "stringData": url,
    }))
    .await;
    look(&site, "database").await;
    site.until::<ArchiveCore>("main", "waits", lacks("Reconciling", "Secret s3")).await;
    database(&site).await;
    look(&site, "s3").await;
    site.until::<ArchiveCore>("main", "is rolled out", rolled_out()).await;

    let all = ListParams::default();
    let mut wanted = BTreeSet::new();
    for job in site.api::<Job>().list(&all).await.unwrap().items {
        wanted.extend(named(job.spec.map(|spec| spec.template)));
    }
    for deployment in site.api::<Deployment>().list(&all).await.unwrap().items {
        wanted.extend(named(deployment.spec.map(|spec| spec.template)));
    }
    for name in ONCE {
        assert!(wanted.contains(name), "{wanted:?}");
    }
    let secrets = site.api::<Secret>();
    for name in &wanted {
        assert!(secrets.get_opt(name).await.unwrap().is_some(), "{name} is named by a pod and not there");
    }
    let text =
        |secret: &Secret, key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let mut made = Vec::new();
    for name in ONCE {
        let secret = secrets.get(name).await.unwrap();
        assert!(secret.owner_references().is_empty() && secret.immutable == Some(true), "{name} can go");
        made.push(secret);
    }
    let [keys, passwords] = &made[..] else { panic!("{made:?}") };
    for key in ["kek", "log-seed"] {
        assert!(
            text(keys, key).len() == 64 && text(keys, key).bytes().all(|digit| digit.is_ascii_hexdigit())
        );
    }
    assert_ne!(text(keys, "kek"), text(keys, "log-seed"));
    for role in ["ingest", "storage", "trust", "gateway", "worker"] {
        let password = text(passwords, &format!("openarchive_{role}"));
        let url = text(&secrets.get(&format!("main-{role}-database")).await.unwrap(), "url");
        let expected = format!("postgres://openarchive_{role}:{password}@db.databases.svc:5432/mail");
        assert_eq!(url, expected, "{role}");
    }
    assert_eq!(passwords.data.as_ref().unwrap().len(), 5);

    // Gone, they are missed, not made anew; restored, they are what they were.
    site.until::<ArchiveCore>("main", "has its configuration kept", has("AuditRecorded", "False")).await;
    secrets.delete("main-keys", &DeleteParams::default()).await.unwrap();
    site.until::<ArchiveCore>("main", "misses them", lacks("Stalled", "Secret main-keys is gone")).await;
    site.quiet().await;
    assert!(secrets.get_opt("main-keys").await.unwrap().is_none(), "other keys are made");
    let mut restored = keys.clone();
    restored.metadata.resource_version = None;
    restored.metadata.uid = None;
    restored.metadata.managed_fields = None;
    secrets.create(&PostParams::default(), &restored).await.unwrap();
    site.until::<ArchiveCore>("main", "goes on", rolled_out()).await;
    site.quiet().await;
    for before in &made {
        assert_eq!(secrets.get(&before.name_any()).await.unwrap().data, before.data);
    }

    // What they hold stands nowhere else.
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    let events = site.api::<Event>().list(&all).await.unwrap().items;
    let said = serde_json::to_string(&json!([archive, events])).unwrap();
    for secret in &made {
        for key in secret.data.as_ref().unwrap().keys() {
            assert!(!said.contains(&text(secret, key)), "{key} is told");
        }
    }
}
