//! Two operators at once: one chain.

use kube::ResourceExt;
use openarchive_operator_api::ArchiveCore;

use crate::{
    pod::{Pod, chain, core, overrides, with_tenants},
    support::{has, site},
};

/// Configuration changes while both run.
const CHANGES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once_cannot_fork_the_chain() {
    let Some(mut site) = site("two-operators").await else { return };
    let mut pod = Pod::new();
    for _ in 0..2 {
        let (client, dialled) = (site.operator_client().await, overrides(&site, &pod));
        site.start(client, dialled).await;
    }
    site.apply::<ArchiveCore>(with_tenants(1)).await;
    site.until::<ArchiveCore>("main", "keeps its configuration", has("AuditRecorded", "False")).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;

    for change in 1..=CHANGES {
        let applied = site.apply::<ArchiveCore>(with_tenants(1 + change)).await;
        let generation = applied.metadata.generation;
        match change {
            // Trust goes between two changes, and comes back while two more are made.
            4 => pod.stop(),
            6 => {
                pod.mount(&site).await;
                pod.start();
            }
            // Without waiting: both operators have several to apply, and may pass by some.
            7 | 8 => continue,
            _ => {}
        }
        site.until::<ArchiveCore>("main", "is applied", move |archive: Option<&ArchiveCore>| {
            let observed = archive.and_then(|archive| archive.status.as_ref()?.observed_generation);
            observed >= generation
        })
        .await;
    }
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    site.quiet().await;

    let folder = tempfile::tempdir().unwrap();
    let core = core(&site, &pod, folder.path()).await;
    let whole = chain(&site, &core).await;
    assert!(whole.findings.is_empty(), "{:#?}", whole.findings);
    assert!(whole.pending.is_empty(), "{:#?}", whole.pending);
    // Linear: each leaf follows the one before it, in the order of the ledger, and every generation is told of once.
    let snapshots: Vec<_> = whole.recorded.iter().map(|link| link.snapshot.clone().unwrap()).collect();
    let mut told = Vec::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| snapshots[before].digest());
        assert_eq!(snapshot.previous(), before, "leaf {number} forks off");
        let skipped = snapshot.skipped_generations().iter().flat_map(|range| range.first..=range.last);
        told.extend(skipped);
        if told.last() != Some(&snapshot.generation()) {
            told.push(snapshot.generation());
        }
    }
    let generation = site.api::<ArchiveCore>().get("main").await.unwrap().metadata.generation.unwrap();
    assert_eq!(generation, 1 + CHANGES as i64);
    assert_eq!(told, (1..=generation as u64).collect::<Vec<_>>());
    let last = site.api::<ArchiveCore>().get("main").await.unwrap();
    let status = last.status.as_ref().unwrap().last_snapshot.as_ref().unwrap();
    assert_eq!(status.sha256, snapshots.last().unwrap().digest().hex(), "{}", last.name_any());
    println!("{} leaves of {} generations by two operators", snapshots.len(), generation);
}
