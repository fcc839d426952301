use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::storage::v1::BlobKind;

use crate::archive::{Archive, Blob, LINGER, noise};

/// Everything that a rebuild must restore.
async fn catalogue(archive: &Archive) -> Vec<String> {
    let packs: Vec<String> = sqlx::query_scalar("select pack::text from storage.pack order by pack_id")
        .fetch_all(archive.pool())
        .await
        .unwrap();
    let entries: Vec<String> =
        sqlx::query_scalar("select entry::text from storage.pack_entry entry order by digest, kind, class")
            .fetch_all(archive.pool())
            .await
            .unwrap();
    packs.into_iter().chain(entries).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_filled_again_from_packs_and_key_files() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let mut blobs = Vec::new();
    for seed in 0..6 {
        let group = [
            Blob::part(noise(seed, 2_000)),
            Blob { kind: BlobKind::Skeleton, ..Blob::part(format!("skeleton {seed}").repeat(500)) },
            Blob { kind: BlobKind::State, class: "system", ..Blob::part(format!("state {seed}")) },
        ];
        core.put(&group).await.unwrap();
        blobs.extend(group);
    }
    let large = Blob::part(noise(99, 5_000_000));
    core.put(std::slice::from_ref(&large)).await.unwrap();
    blobs.push(large);
    archive.all_leaves().await;
    core.storage.shutdown().await;
    let before = catalogue(&archive).await;
    let packs = archive.count("pack").await as u64;

    let empty = "truncate storage.pack cascade";
    sqlx::query(empty).execute(archive.pool()).await.unwrap();
    // Interrupted twice: by a store that goes away, and by rows that are missing for some packs.
    let objects = archive.parts.objects.clone().with_faults(Faults::at(30, Calls::All, Fault::Failed));
    let broken = openarchive_storage::StorageParts { objects, ..archive.parts.clone() };
    openarchive_storage::rebuild(&broken, |_| {}).await.unwrap_err();
    let interrupted = archive.count("pack").await as u64;
    assert!((1..packs).contains(&interrupted), "{interrupted}");

    let mut told = Vec::new();
    let report = openarchive_storage::rebuild(&archive.parts, |progress| told.push(progress)).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.packs, packs - interrupted);
    assert_eq!((told[0].packs, told[0].packs_total), (0, packs));
    assert_eq!(told.last().unwrap().packs, packs);
    let repeated = openarchive_storage::rebuild(&archive.parts, |_| {}).await.unwrap();
    assert_eq!((repeated.packs, repeated.blobs), (0, 0));

    // The ledger answers the leaves that stand: the same indices as before.
    let core = archive.core().await;
    archive.all_leaves().await;
    assert_eq!(catalogue(&archive).await, before);
    core.assert_all_there(&blobs).await;
    let findings = archive.fsck().await;
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(core.put(&blobs).await.unwrap().already_there, blobs.len() as u32);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_and_copies_do_not_disturb_a_rebuild() {
    let archive = Archive::start().await;
    let blob = Blob::part(noise(1, 2_000));
    // A pack without a key file, and one that is complete, but was never catalogued.
    for write in 0..2 {
        let faults = Faults::at(write, Calls::Writes, Fault::FailedButPersisted);
        let core = archive.faulty_core(&faults).await;
        core.put(std::slice::from_ref(&blob)).await.unwrap_err();
        core.storage.shutdown().await;
    }
    archive
        .core_with(&archive.parts, LINGER, "spool-2")
        .await
        .put(std::slice::from_ref(&blob))
        .await
        .unwrap();
    archive.all_leaves().await;
    sqlx::query("truncate storage.pack cascade").execute(archive.pool()).await.unwrap();
    let report = openarchive_storage::rebuild(&archive.parts, |_| {}).await.unwrap();
    assert_eq!((report.packs, report.blobs, report.findings.len()), (2, 1, 1));
    assert!(report.findings[0].to_string().ends_with(": the key file is missing"), "{}", report.findings[0]);
    let core = archive.core().await;
    core.assert_all_there(&[blob]).await;
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}
