//! The API server refuses, is busy, breaks, loses an answer, or never gives one: at each kind of call that the operator makes, in
//! turn. And objects that cannot be, beside those that can.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet};
use openarchive_operator_cluster::{Fault, FaultProxy, Right, Rule, audit::rights};
use openarchive_operator_controller::{client, core::DialOverrides};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    life::{born, changed, database, distributed, enforced, inventory, network_policy_set, rolled_out},
    pod::{Pod, overrides},
    rights::table,
    support::{Site, WAIT, has, is, site, standalone, state},
};

/// After which the operator gives a call up here, so that those that hang do not hold up the test.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(8);
/// Archives at once.
const AT_ONCE: usize = 6;
/// Each may fail one pass, and the pauses between passes double.
const FAULTS_A_LIFE: usize = 3;
/// Watches of different kinds, and the first reading of each kind, do not wait for each other.
const FAULTS_AT_START: usize = 8;
/// Every fault at every call: `OPENARCHIVE_OPERATOR_FAULTS=all`, as in `make test-operator`.
const ALL: &str = "OPENARCHIVE_OPERATOR_FAULTS";

const FAULTS: [(&str, Fault); 6] = [
    ("409", Fault::Status(409)),
    ("429", Fault::TooManyRequests { retry_after_seconds: 1 }),
    ("500", Fault::Status(500)),
    ("no answer", Fault::Hang),
    ("a connection that closes", Fault::Close),
    ("an answer that is lost", Fault::LoseAnswer),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Born,
    Changed,
    RolledOut,
    Recorded,
}

/// One fault, at one call of one life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    life: Life,
    right: Right,
    first: u64,
    /// Of [`FAULTS`].
    fault: usize,
}

/// What a life came to.
struct Outcome {
    rights: BTreeSet<Right>,
    given: usize,
    inventory: BTreeMap<&'static str, Vec<String>>,
    states: Vec<Option<(String, String)>>,
}

/// One life in a namespace of its own; with `expected`, until it came to the same.
async fn live(
    namespace: &str,
    life: Life,
    planned: &[Planned],
    expected: Option<&Outcome>,
) -> Option<Outcome> {
    let mut site = site(namespace).await?;
    let proxy = FaultProxy::start(&site.cluster, &site.user, None).await.unwrap();
    proxy.plan(
        planned
            .iter()
            .map(|one| Rule::nth(&one.right.verb, &one.right.resource, one.first, FAULTS[one.fault].1)),
    );
    let through = client(proxy.config().unwrap(), ANSWER_SECONDS_MAX).unwrap();
    println!("{namespace}: {planned:?}");
    let mut pod = Pod::new();
    let dialled = match life {
        Life::Recorded => overrides(&site, &pod),
        _ => DialOverrides::default(),
    };
    site.start(through, dialled).await;
    match life {
        Life::Born => born(&site).await,
        Life::Changed => {
            born(&site).await;
            changed(&site).await;
        }
        Life::RolledOut => rolled_out(&site).await,
        Life::Recorded => recorded(&site, &mut pod).await,
    }
    if expected.is_none() {
        site.quiet().await;
    }
    let begun = Instant::now();
    loop {
        let (inventory, states) = (inventory(&site).await, states(&site).await);
        let is_same =
            expected.is_none_or(|expected| expected.inventory == inventory && expected.states == states);
        // A fault may be due in a pass that is yet to come.
        if is_same && (proxy.given().len() >= planned.len() || begun.elapsed() > WAIT / 3) {
            let requests = site.requests_since(site.begun);
            return Some(Outcome {
                rights: rights(&requests),
                given: proxy.given().len(),
                inventory,
                states,
            });
        }
        assert!(
            begun.elapsed() < WAIT,
            "{namespace}: after {planned:?} it is {inventory:?}, {states:?}; given: {:?}",
            proxy.given()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// The archive `main` goes on record, and goes, and nothing but its Secrets is left.
async fn recorded(site: &Site, pod: &mut Pod) {
    site.apply::<ArchiveCore>(standalone("main")).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    site.api::<ArchiveCore>().delete("main", &DeleteParams::background()).await.unwrap();
    site.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    let begun = Instant::now();
    while inventory(site).await.into_iter().any(|(kind, names)| kind != "Secret" && !names.is_empty()) {
        assert!(begun.elapsed() < WAIT, "it is left behind: {:?}", inventory(site).await);
        sleep(Duration::from_millis(200)).await;
    }
}

/// Of the archive `main`; none once it is gone.
async fn states(site: &Site) -> Vec<Option<(String, String)>> {
    let Some(archive) = site.api::<ArchiveCore>().get_opt("main").await.unwrap() else { return Vec::new() };
    ["Ready", "Reconciling", "Stalled", "Available", "AuditRecorded", "CertificatesValid"]
        .map(|type_| state(&archive, type_))
        .to_vec()
}

/// Each fault that is meant, at each right of `rights`.
fn planned(life: Life, rights: &BTreeSet<Right>, whole: bool) -> Vec<Planned> {
    let mut all = Vec::new();
    for (number, right) in rights.iter().enumerate() {
        // Of a watch nothing is lost but its beginning.
        let faults = if right.verb == "watch" { FAULTS.len() - 1 } else { FAULTS.len() };
        let chosen = if whole { 0..faults } else { number % faults..number % faults + 1 };
        for fault in chosen {
            all.push(Planned { life, right: right.clone(), first: 1, fault });
            // The first reading is the watch's, or that of the start; a pass comes later.
            if right.verb == "list" {
                all.push(Planned { life, right: right.clone(), first: 4, fault: (fault + 1) % faults });
            }
            // The first one holds the archive, the second lets it go.
            if right.resource == "archivecores" && right.verb == "patch" {
                all.push(Planned { life, right: right.clone(), first: 2, fault });
            }
        }
    }
    all
}

/// Batches of one life each.
fn batches(all: Vec<Planned>) -> Vec<Vec<Planned>> {
    let is_at_start = |one: &Planned| one.right.verb == "watch" || one.right.verb == "list" && one.first == 1;
    let (start, later): (Vec<_>, Vec<_>) = all.into_iter().partition(is_at_start);
    let mut batches = Vec::new();
    for (all, size) in [(start, FAULTS_AT_START), (later, FAULTS_A_LIFE)] {
        let mut open: Vec<Vec<Planned>> = Vec::new();
        for one in all {
            // One rule for one right at a time: two would count each other's requests.
            let fits = |batch: &&mut Vec<Planned>| {
                batch.len() < size
                    && batch.iter().all(|other| other.right != one.right && other.life == one.life)
            };
            match open.iter_mut().find(fits) {
                Some(batch) => batch.push(one),
                None => open.push(vec![one]),
            }
        }
        batches.extend(open);
    }
    batches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_at_whichever_call_the_operator_gets_there() {
    let (born, changed, rolled_out, recorded) = tokio::join!(
        live("faults-born", Life::Born, &[], None),
        live("faults-changed", Life::Changed, &[], None),
        live("faults-rolled-out", Life::RolledOut, &[], None),
        live("faults-recorded", Life::Recorded, &[], None),
    );
    let (Some(born), Some(changed), Some(rolled_out), Some(recorded)) = (born, changed, rolled_out, recorded)
    else {
        return;
    };
    let clean = BTreeMap::from([
        (Life::Born, born),
        (Life::Changed, changed),
        (Life::RolledOut, rolled_out),
        (Life::Recorded, recorded),
    ]);
    let whole = std::env::var(ALL).is_ok_and(|value| value == "all");
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (life, outcome) in &clean {
        // What a shorter life does already is tried there.
        let new: BTreeSet<_> = outcome.rights.difference(&seen).cloned().collect();
        all.extend(planned(*life, &new, whole));
        seen.extend(new);
    }
    // Server-side apply makes what is not there by the same call.
    let is_tried = |right: &Right| {
        seen.contains(right)
            || right.verb == "create" && seen.contains(&Right { verb: "patch".to_owned(), ..right.clone() })
    };
    let untried: Vec<_> = table().into_iter().filter(|right| !is_tried(right)).collect();
    assert!(untried.is_empty(), "no life makes these calls: {untried:#?}");
    // How an agent is held: `agents.rs`.
    let count = all.len();
    let lives = batches(all);
    let number = lives.len();
    let clean = &clean;
    let missed: Vec<_> = stream::iter(lives.into_iter().enumerate())
        .map(|(number, batch)| async move {
            let expected = &clean[&batch[0].life];
            let outcome = live(&format!("faults-{number}"), batch[0].life, &batch, Some(expected)).await;
            (outcome.unwrap().given < batch.len()).then_some(batch)
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(missed.is_empty(), "not every fault was met: {missed:?}");
    println!("{count} faults at {} kinds of calls in {number} lives", seen.len());
    if !whole {
        println!(
            "left out here: every fault ({}) at every kind of call; set {ALL}=all",
            FAULTS.map(|(name, _)| name).join(", ")
        );
    }
}

#[tokio::test]
async fn objects_that_cannot_be_do_not_stop_the_others() {
    let Some(site) = site("cannot-be").await else { return };
    let site = site.with_operator().await;
    // Refused when they are read together: two sets for one archive.
    for name in ["one", "other"] {
        site.apply::<NetworkPolicySet>(network_policy_set(name, "twice", "Enforce")).await;
    }
    site.apply::<ArchiveCore>(standalone("twice")).await;
    // Somebody else's object has the name.
    site.apply::<Service>(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken-all"}, "spec": {"ports": [{"port": 80}]},
    }))
    .await;
    site.apply::<ArchiveCore>(standalone("taken")).await;
    // Refused when its policies are built: no policy can name the host.
    database(&site).await;
    let mut nowhere = distributed("nowhere", "0.1.0", 1);
    nowhere["spec"]["objectStore"]["endpoint"] = json!("https://s3.example.org");
    site.apply::<ArchiveCore>(nowhere).await;
    site.until::<ArchiveCore>("twice", "cannot be", is("Stalled", "True", "InvalidSpec")).await;
    site.until::<ArchiveCore>("taken", "cannot be", is("Stalled", "True", "NotOurs")).await;
    site.until::<NetworkPolicySet>("nowhere", "cannot be", is("Stalled", "True", "InvalidSpec")).await;

    site.apply::<ArchiveCore>(standalone("good")).await;
    site.until::<ArchiveCore>("good", "is ready", has("Ready", "True")).await;
    site.until::<NetworkPolicySet>("good", "is enforced", enforced).await;

    // Each is mended by itself.
    site.api::<NetworkPolicySet>().delete("other", &DeleteParams::default()).await.unwrap();
    site.until::<ArchiveCore>("twice", "is ready", has("Ready", "True")).await;
    site.until::<NetworkPolicySet>("one", "is enforced", enforced).await;
    let mut nowhere = distributed("nowhere", "0.1.0", 1);
    nowhere["spec"]["objectStore"]["endpoint"] = json!("https://s3.example.org");
    nowhere["spec"]["objectStore"]["cidrs"] = json!(["192.0.2.0/24"]);
    site.apply::<ArchiveCore>(nowhere).await;
    site.until::<NetworkPolicySet>("nowhere", "is enforced", enforced).await;
}
