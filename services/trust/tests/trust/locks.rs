//! What is locked in the object store, and a store of a release that locked none of it.

use std::{
    collections::BTreeMap,
    fs::{File, FileTimes},
    time::{Duration, SystemTime},
};

use openarchive_domain::{Clock as _, RetentionClass, SystemClock, Timestamp, lock_until};
use openarchive_objects::{ObjectError, ObjectKey};
use openarchive_proto::trust::v1 as proto;

use crate::archive::{Archive, Client, all_leaves, append, eventually, prove};

const LOG: &str = "acme/evidence";

/// Leaves over the edge of a tile, and a wrapping key.
async fn fill(archive: &Archive, client: &mut Client) {
    let leaves = append(client, LOG, 0..300).await;
    prove(client, archive, LOG, &leaves).await;
    wrap(client).await;
}

async fn wrap(client: &mut Client) {
    let request = proto::WrapKeysRequest { tenant: "acme".to_owned(), keys: vec![vec![7; 32].into()] };
    client.wrap_keys(request).await.unwrap();
}

/// Every object with its lock.
async fn locks(archive: &Archive) -> BTreeMap<ObjectKey, Option<Timestamp>> {
    let mut locks = BTreeMap::new();
    for key in archive.store.list("").await.unwrap() {
        let meta = archive.store.head(&key).await.unwrap().unwrap();
        locks.insert(key, meta.lock_until);
    }
    locks
}

fn is_for_ever(key: &ObjectKey) -> bool {
    let key = key.as_str();
    key.starts_with("heads/") || key.starts_with("kek/") || (key.contains("/tile/") && !key.contains(".p/"))
}

/// The lock of a local object is its file's time.
fn set_lock(archive: &Archive, key: &ObjectKey, days: u64) {
    let file = File::open(archive.file(key.as_str())).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_locked_for_ten_years_and_what_is_written_anew_is_not() {
    let archive = Archive::new().await;
    let until = || lock_until(RetentionClass::System, SystemClock.now()).unwrap();
    let earliest = until();
    let (trust, mut client) = archive.start().await;
    fill(&archive, &mut client).await;
    trust.shutdown().await;
    let locks = locks(&archive).await;
    for (key, lock) in &locks {
        let expected = is_for_ever(key);
        assert_eq!(lock.is_some(), expected, "{key}");
        assert!(lock.is_none_or(|lock| (earliest..=until()).contains(&lock)), "{key}: {lock:?}");
        let deleted = archive.store.delete(key).await;
        assert_eq!(matches!(deleted, Err(ObjectError::Locked { .. })), expected, "{key}: {deleted:?}");
    }
    for kind in ["heads/acme/evidence/1/", "kek/acme/1", "ledger/acme/evidence/1/tile/0/000"] {
        assert!(locks.keys().any(|key| is_for_ever(key) && key.as_str().starts_with(kind)), "{kind}");
    }
    assert!(locks.keys().any(|key| key.as_str() == "ledger/acme/evidence/1/tile/entries/000"));
    assert!(locks.keys().any(|key| !is_for_ever(key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_whose_objects_have_no_locks_yet_opens_and_goes_on() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    fill(&archive, &mut client).await;
    trust.shutdown().await;
    let before = locks(&archive).await;
    for key in before.keys() {
        set_lock(&archive, key, 0);
    }
    assert!(locks(&archive).await.values().all(Option::is_none));
    let (trust, mut client) = archive.start().await;
    wrap(&mut client).await;
    let leaves = append(&mut client, LOG, 300..800).await;
    prove(&mut client, &archive, LOG, &leaves).await;
    let all = all_leaves(&mut client, LOG).await;
    prove(&mut client, &archive, LOG, &all).await;
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
    let new: Vec<_> =
        locks(&archive).await.into_iter().filter(|(key, _)| !before.contains_key(key)).collect();
    assert!(new.iter().any(|(key, _)| key.as_str().ends_with("tile/entries/001")), "{new:?}");
    assert!(new.iter().all(|(key, lock)| lock.is_some() == is_for_ever(key)), "{new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_missing_or_has_lost_a_year_is_extended_and_any_other_stays() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    fill(&archive, &mut client).await;
    trust.shutdown().await;
    let full: Vec<_> = locks(&archive).await.into_keys().filter(is_for_ever).collect();
    let until = lock_until(RetentionClass::System, SystemClock.now()).unwrap();
    let last_day = until.as_millis().unsigned_abs() / (24 * 3600 * 1000);
    // In turn: none at all, a year and a day gone, a year less a day gone.
    let enough = last_day - 364;
    let set: Vec<_> = full.into_iter().zip([0, last_day - 366, enough].into_iter().cycle()).collect();
    assert!(set.len() >= 3, "{set:?}");
    for (key, days) in &set {
        set_lock(&archive, key, *days);
    }
    let (trust, _client) = archive.start().await;
    let extended = || async {
        let now = locks(&archive).await;
        set.iter().all(|(key, days)| *days == enough || now[key] == Some(until)).then_some(())
    };
    eventually("every lock that is too short is extended", extended).await;
    trust.shutdown().await;
    let kept = Timestamp::from_millis((enough * 24 * 3600 * 1000).cast_signed());
    for (key, lock) in locks(&archive).await {
        let days = set.iter().find(|(set, _)| *set == key).map(|(_, days)| *days);
        assert_eq!(lock, days.map(|days| if days == enough { kept } else { until }), "{key}");
    }
}

/// The local store cannot read a lock before 1970: an object that refuses, whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_lock_cannot_be_extended_keeps_no_other_from_its_own() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    fill(&archive, &mut client).await;
    trust.shutdown().await;
    let all: Vec<_> = locks(&archive).await.into_keys().filter(is_for_ever).collect();
    // The first ones of their kinds: everything stands behind the first.
    let refuses =
        |key: &ObjectKey| ["kek/acme/1", "ledger/acme/evidence/1/tile/0/000"].contains(&key.as_str());
    let (refusing, others): (Vec<_>, Vec<_>) = all.into_iter().partition(refuses);
    assert_eq!(refusing.len(), 2);
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(24 * 3600);
    for key in &refusing {
        let file = File::open(archive.file(key.as_str())).unwrap();
        file.set_times(FileTimes::new().set_modified(before_1970)).unwrap();
    }
    for key in &others {
        set_lock(&archive, key, 0);
    }
    let (trust, _client) = archive.start().await;
    let extended = || async {
        for key in &others {
            archive.store.head(key).await.unwrap().unwrap().lock_until?;
        }
        Some(())
    };
    eventually("every other lock is extended", extended).await;
    trust.shutdown().await;
    for key in &refusing {
        assert!(archive.store.head(key).await.is_err(), "{key}");
    }
}
