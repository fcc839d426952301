//! Keys are destroyed as a leaf orders, whatever goes wrong meanwhile, and what is left is told apart from damage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use openarchive_domain::{FixedClock, Timestamp};
use openarchive_ledger::{
    jcs,
    leaf::{ShredCause, ShredLeaf},
};
use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::{
    storage::v1::ShredRequest,
    trust::v1::{AppendEntry, AppendRequest, Log, trust_service_client::TrustServiceClient},
};
use openarchive_rpc::has_reason;
use openarchive_storage::{BLOB_ABSENT, BLOB_SHREDDED, Finding, Problem, SHRED_LOCKED, SHRED_NOT_ORDERED};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::archive::{Archive, Blob, CLASS, Core, TENANT, noise};

const PERMITTED: &str = "10y-received-permitted";
const EMPTY: &str = "truncate storage.pack cascade";

fn erasable(seed: u64) -> Blob {
    Blob { class: PERMITTED, ..Blob::part(noise(seed, 3_000)) }
}

#[track_caller]
fn assert_clean(findings: &[Finding]) {
    assert!(findings.is_empty(), "{findings:?}");
}

impl Archive {
    /// Where the keys of these blobs stand.
    async fn places(&self, blobs: &[&Blob]) -> BTreeMap<[u8; 16], BTreeSet<u32>> {
        let mut places: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
        for blob in blobs {
            let (pack, ordinal): (Uuid, i32) =
                sqlx::query_as("select pack_id, ordinal from storage.pack_entry where digest = $1")
                    .bind(blob.digest().as_bytes().as_slice())
                    .fetch_one(self.pool())
                    .await
                    .unwrap();
            places.entry(pack.into_bytes()).or_default().insert(ordinal.unsigned_abs());
        }
        places
    }

    /// Puts an order into the tenant's evidence log and answers its number.
    async fn order(&self, id: u8, places: BTreeMap<[u8; 16], BTreeSet<u32>>) -> u64 {
        let leaf = ShredLeaf {
            tenant: TENANT.parse().unwrap(),
            shred: [id; 16],
            cause: ShredCause::Erasure,
            leaves: [1].into(),
            places,
            actor: "tok-1".to_owned(),
            occurred_at: Timestamp::from_millis(0),
        };
        let entry = AppendEntry {
            idempotency_key: leaf.idempotency_key().as_bytes().to_vec().into(),
            expected_previous: None,
            body: jcs::canonicalize(&leaf.body()).unwrap(),
        };
        let log = Log { tenant: TENANT.to_owned(), stream: "evidence".to_owned() };
        let request = AppendRequest { log: Some(log), entries: vec![entry] };
        let answer = TrustServiceClient::new(self.parts.trust.clone()).append(request).await.unwrap();
        answer.into_inner().leaves[0].index
    }

    async fn keys(&self) -> i64 {
        self.count("pack_entry where wrapped_dek is not null").await
            + self.count("pack_copy where wrapped_dek is not null").await
    }
}

impl Core {
    async fn shred(&self, leaf_index: u64) -> Result<u32, Status> {
        let request = ShredRequest { tenant: TENANT.to_owned(), leaf_index };
        Ok(self.client.clone().shred(request).await?.into_inner().keys)
    }

    async fn assert_shredded(&self, blob: &Blob) {
        let status = self.get(blob).await.unwrap_err();
        assert!(has_reason(&status, BLOB_SHREDDED) && status.code() == Code::NotFound, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_with_the_key_file_the_repeated_call_destroys_the_keys() {
    let archive = Archive::start().await;
    let healthy = archive.core().await;
    for (number, fault) in (1..).zip([Fault::Failed, Fault::FailedButPersisted, Fault::Lost]) {
        let (going, staying) = (erasable(2 * u64::from(number)), erasable(2 * u64::from(number) + 1));
        healthy.put(&[going.clone(), staying.clone()]).await.unwrap();
        let leaf = archive.order(number, archive.places(&[&going]).await).await;
        let before = archive.keys().await;
        let faults = Faults::first(1, Calls::WritesUnder("keys/"), fault);
        let core = archive.faulty_core(&faults).await;
        core.shred(leaf).await.unwrap_err();
        assert_eq!((faults.counted(), archive.keys().await), (1, before), "{fault:?}");
        // Half done is neither readable nor damage.
        core.assert_shredded(&going).await;
        Archive::assert_no_damage(&archive.fsck().await);
        assert_eq!(core.shred(leaf).await.unwrap(), 1);
        assert_eq!(core.shred(leaf).await.unwrap(), 1, "again changes nothing");
        assert_eq!(archive.keys().await, before - 1);
        healthy.assert_shredded(&going).await;
        healthy.assert_all_there(&[staying]).await;
        core.storage.shutdown().await;
    }
    assert_clean(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shredded_is_told_as_shredded_after_the_database_is_lost_and_may_come_again() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let (going, staying, whole_pack) = (erasable(1), erasable(2), erasable(3));
    core.put(&[going.clone(), staying.clone()]).await.unwrap();
    core.put(std::slice::from_ref(&whole_pack)).await.unwrap();
    let leaf = archive.order(1, archive.places(&[&going, &whole_pack]).await).await;
    assert_eq!(core.shred(leaf).await.unwrap(), 2);
    archive.all_leaves().await;
    core.storage.shutdown().await;
    sqlx::query(EMPTY).execute(archive.pool()).await.unwrap();
    let report = openarchive_storage::rebuild(&archive.parts, |_| {}).await.unwrap();
    assert_clean(&report.findings);
    let core = archive.core().await;
    core.assert_shredded(&going).await;
    core.assert_shredded(&whole_pack).await;
    core.assert_all_there(std::slice::from_ref(&staying)).await;
    assert_clean(&archive.fsck().await);
    let never = core.get(&erasable(9)).await.unwrap_err();
    assert!(has_reason(&never, BLOB_ABSENT), "{never:?}");
    // The same content again is new content.
    assert_eq!(core.put(std::slice::from_ref(&going)).await.unwrap().stored, 1);
    core.assert_all_there(&[going, staying]).await;
    assert_clean(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_without_an_order_is_damage() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let (ordered, lost) = (erasable(1), erasable(2));
    core.put(&[ordered.clone(), lost.clone()]).await.unwrap();
    let leaf = archive.order(1, archive.places(&[&ordered]).await).await;
    core.shred(leaf).await.unwrap();
    // A row that claims an order which does not name it.
    sqlx::query(
        "with gone as (delete from storage.pack_entry where digest = $1 returning *)
         insert into storage.pack_copy select pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset,
           body_length, kek_version, null, $2 from gone",
    )
    .bind(lost.digest().as_bytes().as_slice())
    .bind(leaf as i64)
    .execute(archive.pool())
    .await
    .unwrap();
    let findings = archive.fsck().await;
    assert!(
        findings.iter().any(|finding| finding.is_damage()
            && matches!(finding.problem, Problem::KeyDiffers { .. } | Problem::KeyLost { .. })),
        "{findings:?}"
    );
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_under_a_lock_and_keys_that_are_not_there_are_not_destroyed() {
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock).await;
    let (locked, free) = (Blob { class: CLASS, ..erasable(1) }, erasable(2));
    core.put(std::slice::from_ref(&locked)).await.unwrap();
    core.put(std::slice::from_ref(&free)).await.unwrap();
    let before = archive.keys().await;
    let refused = async |leaf, reason| {
        let status = core.shred(leaf).await.unwrap_err();
        assert!(has_reason(&status, reason), "{status:?}");
        assert_eq!(archive.keys().await, before);
    };
    // All or nothing: the free one stays, too.
    let leaf = archive.order(1, archive.places(&[&locked, &free]).await).await;
    refused(leaf, SHRED_LOCKED).await;
    refused(archive.order(2, [([9; 16], [1].into())].into()).await, "PACK_ABSENT").await;
    let places = archive.places(&[&free]).await;
    let (pack, _) = places.first_key_value().unwrap();
    // The footer's own key, and one beyond the last.
    refused(archive.order(3, [(*pack, [0].into())].into()).await, SHRED_NOT_ORDERED).await;
    refused(archive.order(4, [(*pack, [99].into())].into()).await, SHRED_NOT_ORDERED).await;
    core.assert_all_there(&[locked, free]).await;
    assert_clean(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_object_goes_when_nothing_in_it_is_left_and_its_lock_is_over() {
    const CLASS: &str = "1m-received-permitted";
    let blob = |seed| Blob { class: CLASS, ..erasable(seed) };
    let archive = Archive::start().await;
    let clock = Arc::new(FixedClock::at("2020-01-15T10:00:00.000Z".parse().unwrap()));
    let core = archive.core_at(clock.clone()).await;
    let (first, second, other, live) = (blob(1), blob(2), blob(3), blob(4));
    core.put(&[first.clone(), second.clone()]).await.unwrap();
    // The ids of packs are in the order of their time.
    clock.set("2020-01-15T10:00:01.000Z".parse().unwrap());
    core.put(&[other.clone(), live.clone()]).await.unwrap();
    archive.all_leaves().await;
    let keys: Vec<String> = sqlx::query_scalar("select object_key from storage.pack order by pack_id")
        .fetch_all(archive.pool())
        .await
        .unwrap();
    let there = || keys.iter().map(|key| archive.path_of(key).exists()).collect::<Vec<_>>();
    let shred = async |number, blobs: &[&Blob]| {
        let leaf = archive.order(number, archive.places(blobs).await).await;
        core.shred(leaf).await.unwrap();
    };
    shred(1, &[&first]).await;
    clock.set("2020-02-29T23:59:59.999Z".parse().unwrap());
    shred(2, &[&second]).await;
    assert_eq!((there(), archive.count("pack_deletion").await), (vec![true, true], 0), "it is locked");
    // The lock is over: the next order of the tenant comes to it.
    clock.set("2020-03-01T00:00:00.000Z".parse().unwrap());
    shred(3, &[&other]).await;
    assert_eq!((there(), archive.count("pack_deletion").await), (vec![false, true], 1), "one blob lives");
    core.assert_shredded(&first).await;
    core.assert_all_there(std::slice::from_ref(&live)).await;
    assert_clean(&archive.fsck().await);

    // Nothing is missing after the database is lost, either.
    core.storage.shutdown().await;
    sqlx::query(EMPTY).execute(archive.pool()).await.unwrap();
    let report = openarchive_storage::rebuild(&archive.parts, |_| {}).await.unwrap();
    assert_clean(&report.findings);
    let core = archive.core().await;
    core.assert_all_there(std::slice::from_ref(&live)).await;
    assert_clean(&archive.fsck().await);
    // But for the other pack there is no such excuse.
    std::fs::remove_file(archive.path_of(&keys[1])).unwrap();
    let findings = archive.fsck().await;
    assert!(findings.iter().any(|found| matches!(found.problem, Problem::ObjectMissing)), "{findings:?}");
    archive.stop().await;
}
