use openarchive_domain::Timestamp;
use openarchive_objects::ObjectError;

use super::key;
use crate::{NOW, Subject};

const DAY_MILLIS: i64 = 86_400_000;

fn days(days: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + days * DAY_MILLIS)
}

pub(crate) async fn a_locked_object_is_neither_deleted_nor_replaced_until_its_date(subject: Subject) {
    let (key, until) = (key("a"), days(10 * 365));
    subject.store.create(&key, b"abc".to_vec(), Some(until)).await.unwrap();
    assert_eq!(subject.store.head(&key).await.unwrap().unwrap().lock_until, Some(until));
    for now in [NOW, Timestamp::from_millis(until.as_millis() - 1)] {
        subject.clock.set(now);
        let deleted = subject.store.delete(&key).await;
        assert!(matches!(deleted, Err(ObjectError::Locked { until: u, .. }) if u == until));
        let replaced = subject.store.replace(&key, b"x".to_vec()).await;
        assert!(matches!(replaced, Err(ObjectError::Locked { until: u, .. }) if u == until));
        assert_eq!(subject.store.get(&key).await.unwrap(), b"abc");
    }
    subject.clock.set(until);
    subject.store.delete(&key).await.unwrap();
    assert_eq!(subject.store.head(&key).await.unwrap(), None);
}

pub(crate) async fn a_lock_is_extended_and_never_shortened(subject: Subject) {
    let key = key("a");
    subject.store.create(&key, b"abc".to_vec(), None).await.unwrap();
    subject.store.extend_lock(&key, days(10)).await.unwrap();
    subject.store.extend_lock(&key, days(20)).await.unwrap();
    subject.store.extend_lock(&key, days(20)).await.unwrap();
    let shortened = subject.store.extend_lock(&key, days(19)).await;
    assert!(matches!(shortened, Err(ObjectError::LockShortened { until, .. }) if until == days(20)));
    assert_eq!(subject.store.head(&key).await.unwrap().unwrap().lock_until, Some(days(20)));
    assert_eq!(subject.store.get(&key).await.unwrap(), b"abc");
    let absent = subject.store.extend_lock(&super::key("absent"), days(1)).await;
    assert!(matches!(absent, Err(ObjectError::NotFound { .. })));
}

pub(crate) async fn a_lost_race_does_not_change_the_lock(subject: Subject) {
    let key = key("a");
    subject.store.create(&key, b"abc".to_vec(), Some(days(1))).await.unwrap();
    subject.store.create(&key, b"abc".to_vec(), Some(days(9))).await.unwrap_err();
    assert_eq!(subject.store.head(&key).await.unwrap().unwrap().lock_until, Some(days(1)));
}

pub(crate) async fn matching_again_with_a_later_lock_extends_it(subject: Subject) {
    let key = key("a");
    for (asked, expected) in [(1, 1), (3, 3), (2, 3)] {
        subject.store.create_or_match(&key, b"abc".to_vec(), Some(days(asked))).await.unwrap();
        assert_eq!(subject.store.head(&key).await.unwrap().unwrap().lock_until, Some(days(expected)));
    }
}
