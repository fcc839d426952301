use std::sync::Arc;

use openarchive_domain::FixedClock;
use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::storage::v1::{BlobKind, ExtendLockRequest};
use openarchive_rpc::has_reason;
use openarchive_storage::{Problem, STORAGE_UNAVAILABLE, StorageError, StorageParts};

use crate::archive::{Archive, Blob, CLASS, TENANT, noise};

/// Pack object and key file.
const WRITES_PER_PACK: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn whichever_write_fails_nothing_is_lost_and_the_repeated_call_stores() {
    let archive = Archive::start().await;
    let healthy = archive.core().await;
    let mut kept = Vec::new();
    for write in 0..WRITES_PER_PACK {
        for fault in [Fault::Failed, Fault::FailedButPersisted] {
            // In memory, and through spool files.
            for bytes in [3_000, 4_500_000] {
                let blob = Blob::part(noise(kept.len() as u64, bytes));
                let faults = Faults::at(write, Calls::Writes, fault);
                let core = archive.faulty_core(&faults).await;
                let failed = core.put(std::slice::from_ref(&blob)).await.unwrap_err();
                assert!(has_reason(&failed, STORAGE_UNAVAILABLE), "{failed:?}");
                assert_eq!(faults.counted(), write + 1);
                assert_eq!(healthy.stat(std::slice::from_ref(&blob)).await, [None]);

                // The same core again: the plan is over.
                assert_eq!(core.put(std::slice::from_ref(&blob)).await.unwrap().stored, 1);
                assert_eq!(faults.counted(), write + 1 + WRITES_PER_PACK);
                healthy.assert_all_there(std::slice::from_ref(&blob)).await;
                kept.push(blob);
                core.storage.shutdown().await;
            }
        }
    }
    // What the failed calls left is named, and is no damage: packs of the second call that fails and of the first
    // that fails but persists, key files only of the latter's second.
    healthy.assert_all_there(&kept).await;
    let findings = archive.fsck().await;
    Archive::assert_no_damage(&findings);
    let count =
        |wanted: fn(&Problem) -> bool| findings.iter().filter(|finding| wanted(&finding.problem)).count();
    assert_eq!(count(|problem| matches!(problem, Problem::UnreferencedPack)), 6);
    assert_eq!(count(|problem| matches!(problem, Problem::UnreferencedKeyFile)), 2);
    assert_eq!(findings.len(), 8);
    assert_eq!(std::fs::read_dir(archive.dir().join("spool")).unwrap().count(), 0);
    archive.stop().await;
}

/// The store says that it has the object, and has not: what was uploaded, and what its keys are, is read before anybody
/// is told that it is durable. Each kind of blob goes this way, observations and state like mail.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_the_store_acknowledged_and_lost_is_never_called_durable() {
    let archive = Archive::start().await;
    let healthy = archive.core().await;
    let mut kept = Vec::new();
    let kinds = [BlobKind::Part, BlobKind::Skeleton, BlobKind::Observation, BlobKind::State];
    for under in ["packs/", "keys/"] {
        // In memory, and through spool files.
        for (kind, bytes) in kinds.into_iter().zip([4_500_000, 3_000, 3_000, 3_000]) {
            let class = if kind == BlobKind::State { "system" } else { CLASS };
            let blob = Blob { kind, class, ..Blob::part(noise(kept.len() as u64, bytes)) };
            let faults = Faults::first(1, Calls::WritesUnder(under), Fault::Lost);
            let core = archive.faulty_core(&faults).await;
            let failed = core.put(std::slice::from_ref(&blob)).await.unwrap_err();
            assert!(has_reason(&failed, STORAGE_UNAVAILABLE), "{under} {kind:?} {failed:?}");
            assert_eq!((faults.counted(), archive.count("pack").await), (1, kept.len() as i64));
            assert_eq!(core.put(std::slice::from_ref(&blob)).await.unwrap().stored, 1);
            kept.push(blob);
            core.storage.shutdown().await;
        }
    }
    healthy.assert_all_there(&kept).await;
    let findings = archive.fsck().await;
    Archive::assert_no_damage(&findings);
    // Packs whose key files were lost, and key files whose packs were.
    assert_eq!(findings.len(), 2 * kinds.len());
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_store_acknowledged_and_did_not_extend_is_not_called_extended() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let blob = Blob::part(noise(1, 3_000));
    archive.core_at(clock).await.put(std::slice::from_ref(&blob)).await.unwrap();
    for (under, until) in [("packs/", "2036-09-01T00:00:00.000Z"), ("keys/", "2036-10-01T00:00:00.000Z")] {
        let core = archive.faulty_core(&Faults::first(1, Calls::WritesUnder(under), Fault::Lost)).await;
        let request = ExtendLockRequest {
            tenant: TENANT.to_owned(),
            class: CLASS.to_owned(),
            blobs: vec![blob.reference()],
            keep_until: until.to_owned(),
        };
        let failed = core.client.clone().extend_lock(request.clone()).await.unwrap_err();
        assert!(has_reason(&failed, STORAGE_UNAVAILABLE), "{under} {failed:?}");
        assert_eq!(core.client.clone().extend_lock(request).await.unwrap().into_inner().locked, [true]);
        core.storage.shutdown().await;
    }
    assert_eq!(archive.fsck().await.len(), 0);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_not_taken_for_damage() {
    let archive = Archive::start().await;
    let blobs = [Blob::part(noise(1, 1_000)), Blob::part(noise(2, 1_500_000))];
    archive.core().await.put(&blobs).await.unwrap();
    archive.all_leaves().await;
    for blob in &blobs {
        let core = archive.faulty_core(&Faults::first(1, Calls::All, Fault::Failed)).await;
        let failed = core.get(blob).await.map(|_| ()).unwrap_err();
        assert!(has_reason(&failed, STORAGE_UNAVAILABLE), "{failed:?}");
        assert_eq!(core.get(blob).await.unwrap(), blob.raw);
    }
    // Neither does a check accuse: it asks again, or says that it could not be made.
    let check = async |faults: &Faults| {
        let objects = archive.parts.objects.clone().with_faults(faults.clone());
        let parts = StorageParts { key_objects: objects.clone(), objects, ..archive.parts.clone() };
        openarchive_storage::fsck(&parts, |_| {}).await
    };
    let healthy = Faults::none(Calls::All);
    assert!(check(&healthy).await.unwrap().is_empty());
    let (mut failed, mut asked_again) = (0, 0);
    for call in 0..healthy.counted() {
        let faults = Faults::at(call, Calls::All, Fault::Failed);
        match check(&faults).await {
            Err(_) => failed += 1,
            Ok(findings) => {
                assert!(findings.is_empty(), "{findings:?}");
                assert!(faults.counted() > healthy.counted(), "call {call} failed and nobody noticed");
                asked_again += 1;
            }
        }
    }
    // A list of names is not asked for again; a pack's object and key file are.
    assert!(failed > 0 && asked_again > 5, "{failed} {asked_again}");
    let away = Faults::first(u64::MAX, Calls::All, Fault::Failed);
    assert!(matches!(check(&away).await, Err(StorageError::Objects(_))));
    archive.stop().await;
}
