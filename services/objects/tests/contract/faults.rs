use openarchive_objects::{Calls, Fault, Faults, ObjectError};

use super::key;
use crate::Subject;

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
