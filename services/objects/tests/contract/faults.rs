use openarchive_domain::{Digest, Timestamp};
use openarchive_objects::{Calls, Content, Fault, Faults, ObjectError};

use super::key;
use crate::{NOW, Subject};

pub(crate) async fn a_failed_call_does_nothing_and_a_lost_answer_does_everything(subject: Subject) {
    for (fault, persisted) in [(Fault::Failed, false), (Fault::FailedButPersisted, true)] {
        let key = key(&format!("created/{persisted}"));
        let faulty = subject.store.clone().with_faults(Faults::first(1, Calls::All, fault));
        let created = faulty.create(&key, b"abc".to_vec(), None).await;
        assert!(created.is_err_and(|error| error.is_retryable()));
        assert_eq!(subject.store.head(&key).await.unwrap().is_some(), persisted);
        let again = faulty.create(&key, b"abc".to_vec(), None).await;
        assert_eq!(matches!(again, Err(ObjectError::Exists { .. })), persisted);

        let faulty = subject.store.clone().with_faults(Faults::first(1, Calls::All, fault));
        faulty.replace(&key, b"new".to_vec()).await.unwrap_err();
        assert_eq!(subject.store.get(&key).await.unwrap() == b"new", persisted);

        let faulty = subject.store.clone().with_faults(Faults::first(1, Calls::All, fault));
        faulty.delete(&key).await.unwrap_err();
        assert_eq!(subject.store.head(&key).await.unwrap().is_none(), persisted);
    }
}

pub(crate) async fn only_the_planned_calls_go_wrong(subject: Subject) {
    let faults = Faults::at(2, Calls::Writes, Fault::Failed);
    let faulty = subject.store.with_faults(faults.clone());
    for index in 0..5 {
        let created = faulty.create(&key(&format!("object/{index}")), b"abc".to_vec(), None).await;
        assert_eq!(created.is_err(), index == 2);
        faulty.head(&key("object/0")).await.unwrap();
    }
    assert_eq!(faults.counted(), 5);
    assert_eq!(faulty.list("").await.unwrap().len(), 4);
}

pub(crate) async fn a_writer_that_repeats_itself_succeeds_after_either_fault(subject: Subject) {
    for fault in [Fault::Failed, Fault::FailedButPersisted] {
        let key = key(&format!("object/{fault:?}"));
        let faulty = subject.store.clone().with_faults(Faults::first(1, Calls::Writes, fault));
        faulty.create_or_match(&key, b"abc".to_vec(), None).await.unwrap_err();
        faulty.create_or_match(&key, b"abc".to_vec(), None).await.unwrap();
        assert_eq!(subject.store.get(&key).await.unwrap(), b"abc");
    }
}

pub(crate) async fn a_lost_write_is_answered_like_any_other_and_did_not_happen(subject: Subject) {
    let lost = || subject.store.clone().with_faults(Faults::first(1, Calls::Writes, Fault::Lost));
    let file = subject.folder.path().join("handed-in");
    std::fs::write(&file, b"abc").unwrap();
    for content in [Content::from(b"abc".to_vec()), Content::File(file.clone())] {
        let created = lost().create(&key("created"), content, None).await.unwrap();
        assert_eq!((created.sha256, created.length), (Digest::of(b"abc"), 3));
        assert_eq!(subject.store.head(&key("created")).await.unwrap(), None);
    }
    assert!(!file.exists());
    let stored = subject.store.create(&key("a"), b"abc".to_vec(), None).await.unwrap();
    assert_eq!(lost().create(&key("other"), b"abc".to_vec(), None).await.unwrap(), stored);
    assert!(matches!(lost().create(&key("a"), b"abc".to_vec(), None).await, Err(ObjectError::Exists { .. })));
    let replaced = lost().replace(&key("a"), b"new".to_vec()).await.unwrap();
    assert_eq!(replaced.sha256, Digest::of(b"new"));
    lost().delete(&key("a")).await.unwrap();
    lost().extend_lock(&key("a"), Timestamp::from_millis(NOW.as_millis() + 1)).await.unwrap();
    assert_eq!(subject.store.get(&key("a")).await.unwrap(), b"abc");
    assert_eq!(subject.store.head(&key("a")).await.unwrap().unwrap().lock_until, None);
    // A read has nothing to lose.
    let reading = subject.store.clone().with_faults(Faults::first(9, Calls::All, Fault::Lost));
    assert_eq!(reading.get(&key("a")).await.unwrap(), b"abc");
}

pub(crate) async fn a_plan_for_a_prefix_counts_only_the_writes_under_it(subject: Subject) {
    let faults = Faults::first(1, Calls::WritesUnder("keys/"), Fault::Failed);
    let faulty = subject.store.with_faults(faults.clone());
    faulty.create(&key("packs/a"), b"abc".to_vec(), None).await.unwrap();
    assert_eq!(faulty.list("keys/").await.unwrap(), []);
    assert_eq!(faults.counted(), 0);
    faulty.create(&key("keys/a"), b"abc".to_vec(), None).await.unwrap_err();
    faulty.create(&key("keys/a"), b"abc".to_vec(), None).await.unwrap();
    assert_eq!(faults.counted(), 2);
}
