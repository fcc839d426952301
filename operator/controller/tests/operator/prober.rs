//! What the archive's probers say, as the operator tells it.

use std::net::Ipv4Addr;

use k8s_openapi::api::{apps::v1::Deployment, events::v1::Event};
use kube::api::ListParams;
use openarchive_e2e::{Prober, common_port};
use openarchive_operator_api::{ArchiveCore, ConditionType, Conditions, Enforcement, NetworkPolicySet};
use serde_json::json;

use crate::support::{Site, has, is, site, standalone};

/// Two real probers, where no network policy stands between them.
fn probers() -> ([Prober<'static>; 2], String) {
    let both = [Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 8)];
    let ports = (common_port(&both), common_port(&both));
    let probers = both.map(|address| Prober::start(address, ports, &both).unwrap());
    for prober in &probers {
        prober.says("NotEnforced", "1 of 1 connections that no edge lists came through");
    }
    (probers, format!("{}:{}", both[0], ports.0))
}

/// Makes the operator look at the set again, by a change that changes nothing.
async fn touch(site: &Site, value: &str) {
    site.apply::<ArchiveCore>(json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
        "metadata": {"name": "main", "labels": {"seen": value}}, "spec": standalone("main")["spec"],
    }))
    .await;
}

#[tokio::test]
async fn a_network_that_enforces_nothing_is_told_once_and_silence_is_no_verdict() {
    let Some(mut site) = site("prober").await else { return };
    let (probers, address) = tokio::task::spawn_blocking(probers).await.unwrap();
    let client = site.operator_client().await;
    let overrides = format!("main-prober.{}.svc:9090={address}", site.namespace).parse().unwrap();
    site.start(client, overrides).await;
    site.apply::<ArchiveCore>(standalone("main")).await;
    let told = is::<NetworkPolicySet>("EnforcementVerified", "False", "NotEnforced");
    let set = site.until::<NetworkPolicySet>("main", "says that nothing is enforced", told).await.unwrap();
    let status = set.status.unwrap();
    let enforcement = status.enforcement.unwrap();
    assert_eq!(enforcement.verdict, Enforcement::NotEnforced);
    assert!(enforcement.probed_at.is_some());
    let condition = status.conditions.of_type(ConditionType::EnforcementVerified).unwrap();
    assert_eq!(condition.message, "1 of 1 connections that no edge lists came through");

    // It is no service of the archive.
    let archive = site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await.unwrap();
    let services: Vec<_> = archive.status.unwrap().services.into_iter().map(|one| one.name).collect();
    assert_eq!(services, ["all"]);
    let deployment = site.api::<Deployment>().get("main-prober").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(2));

    let mark = site.quiet().await;
    touch(&site, "again").await;
    // Then the pass is over: it asks when everything else is done.
    site.seen(mark, "pods", "list").await;
    site.quiet().await;
    assert_eq!(site.writes_since(mark), [], "a verdict that stays is written again");
    let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let warnings: Vec<_> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("NotEnforced"))
        .map(|event| (event.type_.as_deref(), event.series.as_ref().map(|series| series.count)))
        .collect();
    assert_eq!(warnings, [(Some("Warning"), None)]);

    drop(probers);
    touch(&site, "once-more").await;
    let silent = is::<NetworkPolicySet>("EnforcementVerified", "Unknown", "Unverified");
    let set = site.until::<NetworkPolicySet>("main", "says that it does not know", silent).await.unwrap();
    let status = set.status.unwrap();
    let condition = status.conditions.of_type(ConditionType::EnforcementVerified).unwrap();
    assert_eq!(condition.message, "no prober answers at main-prober.prober.svc:9090");
    assert_eq!(status.enforcement.unwrap().probed_at, None);
}
