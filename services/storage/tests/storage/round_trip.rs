use std::time::Duration;

use openarchive_proto::storage::v1::{BlobKind, GetWormStatusRequest};
use openarchive_rpc::has_reason;
use openarchive_storage::{BLOB_ABSENT, PACK_BYTES_TARGET, STORAGE_UNAVAILABLE};

use crate::archive::{Archive, Blob, noise};

#[tokio::test(flavor = "multi_thread")]
async fn small_blobs_of_one_call_land_in_one_pack_and_come_back_as_they_were() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let mut blobs: Vec<Blob> = [0, 1, 16_383, 16_384, 70_000, 256 * 1024]
        .into_iter()
        .map(|bytes| Blob::part(noise(bytes as u64, bytes)))
        .collect();
    blobs.push(Blob { kind: BlobKind::Skeleton, ..Blob::part(b"text text text ".repeat(15_000)) });
    blobs.push(Blob { kind: BlobKind::Observation, ..Blob::part(b"an observation".as_slice()) });
    let answer = core.put(&blobs).await.unwrap();
    assert_eq!((answer.stored, answer.already_there), (blobs.len() as u32, 0));
    assert_eq!((archive.count("pack").await, archive.count("pack_entry").await), (1, blobs.len() as i64));
    core.assert_all_there(&blobs).await;

    // In the order asked, absent ones between.
    let asked = [blobs[2].clone(), Blob::part(b"absent".as_slice()), blobs[0].clone()];
    assert_eq!(core.stat(&asked).await, [Some(16_383), None, Some(0)]);
    let absent = core.get(&asked[1]).await.unwrap_err();
    assert!(has_reason(&absent, BLOB_ABSENT), "{absent:?}");

    // A later process has no keys in memory: it asks trust.
    core.storage.shutdown().await;
    let later = archive.core().await;
    later.assert_all_there(&blobs).await;
    let findings = archive.fsck().await;
    assert!(findings.is_empty(), "{findings:?}");
    let indices: Vec<Option<i64>> =
        sqlx::query_scalar("select leaf_index from storage.pack").fetch_all(archive.pool()).await.unwrap();
    assert!(indices.iter().all(Option::is_some));
    let worm = later.client.clone().get_worm_status(GetWormStatusRequest {}).await.unwrap().into_inner();
    assert!(!worm.worm && worm.why.contains("local files"));
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_and_kind_keeps_its_own_copy() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let part = Blob::part(b"the same bytes".as_slice());
    let blobs = [
        part.clone(),
        Blob { class: "6m-received-permitted", ..part.clone() },
        Blob { kind: BlobKind::Skeleton, ..part.clone() },
        Blob { kind: BlobKind::State, class: "system", ..part },
    ];
    assert_eq!(core.put(&blobs).await.unwrap().stored, 4);
    assert_eq!((archive.count("pack").await, archive.count("pack_entry").await), (3, 4));
    core.assert_all_there(&blobs).await;

    let locks: Vec<(String, bool, bool)> = {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("select class, object_key, key_file_key from storage.pack order by class")
                .fetch_all(archive.pool())
                .await
                .unwrap();
        let mut locks = Vec::new();
        for (class, pack, key_file) in rows {
            let pack = archive.parts.objects.head(&pack.parse().unwrap()).await.unwrap().unwrap();
            let key_file = archive.parts.objects.head(&key_file.parse().unwrap()).await.unwrap().unwrap();
            locks.push((class, pack.lock_until.is_some(), key_file.lock_until == pack.lock_until));
        }
        locks
    };
    // A key file that may have to be shredded early is not locked; every pack is.
    let expected = [
        ("10y-received-forbidden", true, true),
        ("6m-received-permitted", true, false),
        ("system", true, true),
    ];
    assert_eq!(locks, expected.map(|(class, pack, same)| (class.to_owned(), pack, same)));
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_full_does_not_wait() {
    let archive = Archive::start().await;
    let core = archive.core_with(&archive.parts, Duration::from_secs(3600), "spool").await;
    let half = PACK_BYTES_TARGET as usize / 2;
    let blobs = [Blob::part(noise(1, half)), Blob::part(noise(2, half))];
    assert_eq!(core.put(&blobs).await.unwrap().stored, 2);
    assert_eq!(archive.count("pack").await, 1);
    core.assert_all_there(&blobs).await;
    // Nothing is left in the spool folder.
    assert_eq!(std::fs::read_dir(archive.dir().join("spool")).unwrap().count(), 0);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_every_call_is_answered_durably_or_refused() {
    let archive = Archive::start().await;
    let core = archive.core_with(&archive.parts, Duration::from_secs(3600), "spool").await;
    let blobs: Vec<Blob> = (0..8).map(|seed| Blob::part(noise(seed, 50_000))).collect();
    let calls = blobs.iter().map(|blob| core.put(std::slice::from_ref(blob)));
    let stop = async {
        tokio::task::yield_now().await;
        core.storage.shutdown().await;
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(calls), stop);
    let later = archive.core().await;
    for (answer, blob) in answers.into_iter().zip(&blobs) {
        match answer {
            Ok(answer) => {
                assert_eq!(answer.stored, 1);
                assert_eq!(later.get(blob).await.unwrap(), blob.raw);
            }
            Err(refused) => assert!(has_reason(&refused, STORAGE_UNAVAILABLE), "{refused:?}"),
        }
    }
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}
