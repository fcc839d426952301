use openarchive_domain::Digest;
use openarchive_objects::{Content, ObjectError};

use super::key;
use crate::Subject;

pub(crate) async fn of_16_creators_at_once_exactly_one_wins_and_its_bytes_stand(subject: Subject) {
    for round in 0..8 {
        let key = key(&format!("race/{round}/object"));
        let creators: Vec<_> = (0..16u8)
            .map(|creator| {
                let (store, key) = (subject.store.clone(), key.clone());
                tokio::spawn(async move { (creator, store.create(&key, vec![creator; 5000], None).await) })
            })
            .collect();
        let mut winners = Vec::new();
        for creator in creators {
            match creator.await.unwrap() {
                (creator, Ok(version)) => winners.push((creator, version)),
                (_, Err(ObjectError::Exists { .. })) => {}
                (_, Err(error)) => panic!("{error:?}"),
            }
        }
        let [(winner, version)] = winners.as_slice() else { panic!("{winners:?}") };
        let stored = subject.store.get(&key).await.unwrap();
        assert_eq!(stored, vec![*winner; 5000]);
        assert_eq!(version.sha256, Digest::of(&stored));
    }
}

pub(crate) async fn an_object_is_created_once_and_says_what_was_stored(subject: Subject) {
    let version = subject.store.create(&key("a/b"), b"abc".to_vec(), None).await.unwrap();
    assert_eq!((version.sha256, version.length), (Digest::of(b"abc"), 3));
    assert!(!version.version_id.is_empty());
    let again = subject.store.create(&key("a/b"), b"xyz".to_vec(), None).await;
    assert!(matches!(again, Err(ObjectError::Exists { key: k }) if k == key("a/b")));
    assert_eq!(subject.store.get(&key("a/b")).await.unwrap(), b"abc");
    let meta = subject.store.head(&key("a/b")).await.unwrap().unwrap();
    assert_eq!((meta.length, meta.lock_until), (3, None));
}

pub(crate) async fn a_file_is_consumed_by_creating_and_kept_when_the_name_is_taken(subject: Subject) {
    let file = subject.folder.path().join("handed-in");
    let bytes = b"0123456789".repeat(300_000);
    std::fs::write(&file, &bytes).unwrap();
    let version = subject.store.create(&key("a"), Content::File(file.clone()), None).await.unwrap();
    assert_eq!((version.sha256, version.length), (Digest::of(&bytes), 3_000_000));
    assert!(!file.exists());
    assert!(subject.store.get(&key("a")).await.unwrap() == bytes);

    std::fs::write(&file, b"other").unwrap();
    let taken = subject.store.create(&key("a"), Content::File(file.clone()), None).await;
    assert!(matches!(taken, Err(ObjectError::Exists { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"other");
}

pub(crate) async fn creating_again_with_the_same_bytes_matches_and_with_others_does_not(subject: Subject) {
    let first = subject.store.create_or_match(&key("a"), b"abc".to_vec(), None).await.unwrap();
    let again = subject.store.create_or_match(&key("a"), b"abc".to_vec(), None).await.unwrap();
    assert_eq!(first, again);
    for other in [&b"abd"[..], b"ab", b"abcd"] {
        let refused = subject.store.create_or_match(&key("a"), other.to_vec(), None).await;
        assert!(matches!(refused, Err(ObjectError::Exists { .. })));
    }
    assert_eq!(subject.store.get(&key("a")).await.unwrap(), b"abc");
}

pub(crate) async fn replacing_makes_or_changes_an_object_whole(subject: Subject) {
    subject.store.replace(&key("a/b"), b"one".to_vec()).await.unwrap();
    let mut reader = subject.store.open(&key("a/b")).await.unwrap();
    let version = subject.store.replace(&key("a/b"), b"twelve".to_vec()).await.unwrap();
    assert_eq!((version.sha256, version.length), (Digest::of(b"twelve"), 6));
    assert_eq!(subject.store.get(&key("a/b")).await.unwrap(), b"twelve");
    assert_eq!(reader.next_piece().await.unwrap().unwrap(), b"one");
    assert_eq!(subject.store.list("").await.unwrap(), [key("a/b")]);
}

pub(crate) async fn deleting_removes_and_deleting_again_is_success(subject: Subject) {
    subject.store.create(&key("a/b"), b"abc".to_vec(), None).await.unwrap();
    subject.store.delete(&key("a/b")).await.unwrap();
    subject.store.delete(&key("a/b")).await.unwrap();
    subject.store.delete(&key("never/was")).await.unwrap();
    assert_eq!(subject.store.head(&key("a/b")).await.unwrap(), None);
    subject.store.create(&key("a/b"), b"new".to_vec(), None).await.unwrap();
    assert_eq!(subject.store.get(&key("a/b")).await.unwrap(), b"new");
}

pub(crate) async fn an_empty_object_is_an_object(subject: Subject) {
    subject.store.create(&key("empty"), Vec::new(), None).await.unwrap();
    assert_eq!(subject.store.get(&key("empty")).await.unwrap(), b"");
    assert_eq!(subject.store.get_range(&key("empty"), 0, 0).await.unwrap(), b"");
    assert_eq!(subject.store.open(&key("empty")).await.unwrap().next_piece().await.unwrap(), None);
    assert_eq!(subject.store.head(&key("empty")).await.unwrap().unwrap().length, 0);
}
