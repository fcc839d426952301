//! Locks that are extended for later mail, and parts that are stored again when they cannot be.

use std::sync::Arc;

use openarchive_domain::{FixedClock, lock_until};
use openarchive_proto::storage::v1::{BlobKind, ExtendLockRequest, StatBlobsRequest, VerifyPackRequest};

use crate::archive::{Archive, Blob, CLASS, Core, TENANT, noise};

/// Whether a mail received at `received` may refer to the stored blob: by StatBlobs, and by extending the lock.
async fn kept_for_mail_of(core: &Core, blob: &Blob, received: &str) -> (bool, bool) {
    let until = lock_until(CLASS.parse().unwrap(), received.parse().unwrap()).unwrap().to_string();
    let (tenant, class, blobs) = (TENANT.to_owned(), CLASS.to_owned(), vec![blob.reference()]);
    let request = StatBlobsRequest {
        tenant: tenant.clone(),
        class: class.clone(),
        blobs: blobs.clone(),
        keep_until: until.clone(),
    };
    let there = core.client.clone().stat_blobs(request).await.unwrap().into_inner().blobs[0].present;
    let request = ExtendLockRequest { tenant, class, blobs, keep_until: until };
    let locked = core.client.clone().extend_lock(request).await.unwrap().into_inner().locked;
    (there, locked[0])
}

/// The lock dates of pack objects and of key files, in the order of the packs.
async fn locks(archive: &Archive) -> Vec<(String, String)> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select object_key, key_file_key from storage.pack order by pack_id")
            .fetch_all(archive.pool())
            .await
            .unwrap();
    let mut locks = Vec::new();
    for (pack, key_file) in rows {
        let date = async |key: String| {
            let meta = archive.parts.objects.head(&key.parse().unwrap()).await.unwrap().unwrap();
            meta.lock_until.unwrap().to_string()[..10].to_owned()
        };
        locks.push((date(pack).await, date(key_file).await));
    }
    locks
}

fn both(date: &str) -> (String, String) {
    (date.to_owned(), date.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_extended_by_at_most_a_year_and_then_the_part_is_stored_again() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock.clone()).await;
    let (logo, other) = (Blob::part(noise(1, 3_000)), Blob::part(noise(2, 3_000)));
    core.put(&[logo.clone(), other.clone()]).await.unwrap();
    assert_eq!(locks(&archive).await, [both("2036-02-01")]);

    assert_eq!(kept_for_mail_of(&core, &logo, "2026-12-20T00:00:00.000Z").await, (true, true));
    assert_eq!(locks(&archive).await, [both("2037-01-01")]);
    // An earlier date never shortens it.
    assert_eq!(kept_for_mail_of(&core, &logo, "2026-02-20T00:00:00.000Z").await, (true, true));
    assert_eq!(kept_for_mail_of(&core, &logo, "2027-01-31T23:59:59.999Z").await, (true, true));
    assert_eq!(locks(&archive).await, [both("2037-02-01")]);
    // The year counts from the first date, not from the extended one.
    assert_eq!(kept_for_mail_of(&core, &logo, "2027-02-01T00:00:00.001Z").await, (false, false));
    assert_eq!(locks(&archive).await, [both("2037-02-01")]);

    clock.set("2027-02-10T00:00:00.000Z".parse().unwrap());
    let answer = core.put(std::slice::from_ref(&logo)).await.unwrap();
    assert_eq!((answer.stored, answer.already_there), (1, 0));
    assert_eq!(locks(&archive).await, [both("2037-02-01"), both("2037-03-01")]);
    assert_eq!(core.put(std::slice::from_ref(&logo)).await.unwrap().already_there, 1);
    assert_eq!(kept_for_mail_of(&core, &logo, "2028-02-01T00:00:00.000Z").await, (true, true));
    // Later references use the new copy: the old pack is not kept for them.
    assert_eq!(locks(&archive).await, [both("2037-02-01"), both("2038-02-01")]);
    assert_eq!((archive.count("pack_entry").await, archive.count("pack_copy").await), (2, 1));
    core.assert_all_there(&[logo.clone(), other.clone()]).await;
    Archive::assert_no_damage(&archive.fsck().await);

    // Lost with the database and found again: the first dates by the packs' own time, the extended ones on the objects.
    core.storage.shutdown().await;
    sqlx::query("truncate storage.pack cascade").execute(archive.pool()).await.unwrap();
    let report = openarchive_storage::rebuild(&archive.parts, |_| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let core = archive.core_at(clock).await;
    assert_eq!((archive.count("pack_entry").await, archive.count("pack_copy").await), (2, 1));
    assert_eq!(kept_for_mail_of(&core, &other, "2027-02-01T00:00:00.001Z").await, (false, false));
    assert_eq!(kept_for_mail_of(&core, &logo, "2028-02-29T00:00:00.000Z").await, (true, true));
    assert_eq!(kept_for_mail_of(&core, &logo, "2028-03-01T00:00:00.000Z").await, (true, true));
    assert_eq!(kept_for_mail_of(&core, &logo, "2028-03-01T00:00:00.001Z").await, (false, false));
    assert_eq!(locks(&archive).await, [both("2037-02-01"), both("2038-03-01")]);
    core.assert_all_there(&[logo, other]).await;
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}

/// Whoever asks for a lock answers with a receipt: that the pack might be locked for so long is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_pack_is_not_noted_as_locked_is_not_called_locked() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock).await;
    let logo = Blob::part(noise(1, 3_000));
    core.put(std::slice::from_ref(&logo)).await.unwrap();
    sqlx::raw_sql(
        "create function storage.lose() returns trigger language plpgsql as 'begin return null; end';
         create trigger lose before insert on storage.pack_lock for each row execute function storage.lose();
         grant execute on function storage.lose() to public",
    )
    .execute(archive.pool())
    .await
    .unwrap();
    assert_eq!(kept_for_mail_of(&core, &logo, "2026-12-20T00:00:00.000Z").await, (true, false));
    sqlx::raw_sql("drop trigger lose on storage.pack_lock").execute(archive.pool()).await.unwrap();
    assert_eq!(kept_for_mail_of(&core, &logo, "2026-12-20T00:00:00.000Z").await, (true, true));
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_may_be_shredded_stays_unlocked_when_its_pack_is_kept_longer() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock).await;
    let blob = Blob { class: "6m-received-permitted", ..Blob::part(noise(1, 3_000)) };
    core.put(std::slice::from_ref(&blob)).await.unwrap();
    let request = ExtendLockRequest {
        tenant: TENANT.to_owned(),
        class: blob.class.to_owned(),
        blobs: vec![blob.reference()],
        keep_until: "2026-10-01T00:00:00.000Z".to_owned(),
    };
    let locked = core.client.clone().extend_lock(request).await.unwrap().into_inner().locked;
    assert_eq!(locked, [true]);
    let (pack, key_file): (String, String) =
        sqlx::query_as("select object_key, key_file_key from storage.pack")
            .fetch_one(archive.pool())
            .await
            .unwrap();
    let lock_of = async |key: String| {
        archive.parts.objects.head(&key.parse().unwrap()).await.unwrap().unwrap().lock_until
    };
    assert_eq!(lock_of(pack).await, Some("2026-10-01T00:00:00.000Z".parse().unwrap()));
    assert_eq!(lock_of(key_file).await, None);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_archives_own_is_locked_anew_when_it_is_read_again_and_mail_is_not() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock.clone()).await;
    let state = Blob { kind: BlobKind::State, class: "system", raw: noise(1, 3_000) };
    core.put(std::slice::from_ref(&state)).await.unwrap();
    clock.set("2026-01-15T10:00:01.000Z".parse().unwrap());
    core.put(&[Blob::part(noise(2, 3_000))]).await.unwrap();
    let verify_all = async |now: &str| {
        clock.set(now.parse().unwrap());
        let packs: Vec<String> =
            sqlx::query_scalar("select pack_id::text from storage.pack order by pack_id")
                .fetch_all(archive.pool())
                .await
                .unwrap();
        for pack_id in packs {
            let answer = core.client.clone().verify_pack(VerifyPackRequest { pack_id }).await.unwrap();
            assert_eq!(answer.into_inner().findings, Vec::<String>::new());
        }
        locks(&archive).await
    };
    let first = both("2036-02-01");
    // A year of it may be lost; and years, if nobody came by.
    assert_eq!(verify_all("2027-01-01T00:00:00.000Z").await, [first.clone(), first.clone()]);
    assert_eq!(verify_all("2027-01-01T00:00:00.001Z").await, [both("2037-02-01"), first.clone()]);
    assert_eq!(verify_all("2031-05-10T00:00:00.000Z").await, [both("2041-06-01"), first]);
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}
