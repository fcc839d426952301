use openarchive_domain::Timestamp;
use openarchive_objects::{ObjectError, PIECE_BYTES_MAX, WHOLE_BYTES_MAX};

use super::key;
use crate::{NOW, Subject};

pub(crate) async fn a_range_is_exact_or_refused(subject: Subject) {
    subject.store.create(&key("a"), b"0123456789".to_vec(), None).await.unwrap();
    for (offset, length, expected) in
        [(0, 10, &b"0123456789"[..]), (0, 1, b"0"), (9, 1, b"9"), (3, 4, b"3456"), (10, 0, b"")]
    {
        assert_eq!(subject.store.get_range(&key("a"), offset, length).await.unwrap(), expected);
    }
    for (offset, length) in [(0, 11), (9, 2), (10, 1), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let refused = subject.store.get_range(&key("a"), offset, length).await;
        assert!(matches!(refused, Err(ObjectError::RangeBeyondEnd { length: 10, .. })), "{offset} {length}");
    }
}

pub(crate) async fn a_reader_gives_the_whole_in_pieces(subject: Subject) {
    for length in [1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX - 1] {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let key = key(&format!("length/{length}"));
        subject.store.create(&key, bytes.clone(), None).await.unwrap();
        let mut reader = subject.store.open(&key).await.unwrap();
        assert_eq!(reader.length(), length as u64);
        let mut read = Vec::new();
        while let Some(piece) = reader.next_piece().await.unwrap() {
            assert!((1..=PIECE_BYTES_MAX).contains(&piece.len()));
            read.extend(piece);
        }
        assert!(read == bytes, "{length}");
        assert_eq!(reader.next_piece().await.unwrap(), None);
    }
}

pub(crate) async fn what_is_not_there_is_not_found(subject: Subject) {
    let absent = key("not/there");
    assert_eq!(subject.store.head(&absent).await.unwrap(), None);
    assert!(matches!(subject.store.get(&absent).await, Err(ObjectError::NotFound { .. })));
    assert!(matches!(subject.store.get_range(&absent, 0, 1).await, Err(ObjectError::NotFound { .. })));
    assert!(matches!(subject.store.open(&absent).await, Err(ObjectError::NotFound { .. })));
    assert_eq!(subject.store.list("not/").await.unwrap(), []);
}

pub(crate) async fn a_whole_read_beyond_its_limit_is_refused(subject: Subject) {
    let file = subject.folder.path().join("large");
    // Sparse: costs no disk where the backend takes the file itself.
    std::fs::File::create(&file).unwrap().set_len(WHOLE_BYTES_MAX + 1).unwrap();
    let content = openarchive_objects::Content::File(file);
    subject.store.create(&key("large"), content, None).await.unwrap();
    assert!(matches!(subject.store.get(&key("large")).await, Err(ObjectError::TooLarge { .. })));
    let refused = subject.store.get_range(&key("large"), 0, WHOLE_BYTES_MAX + 1).await;
    assert!(matches!(refused, Err(ObjectError::TooLarge { .. })));
    let allowed = subject.store.get_range(&key("large"), 1, WHOLE_BYTES_MAX).await.unwrap();
    assert_eq!(allowed.len() as u64, WHOLE_BYTES_MAX);
}

pub(crate) async fn what_was_written_reads_back_and_anything_else_does_not(subject: Subject) {
    let (at, later) = (NOW, Timestamp::from_millis(NOW.as_millis() + 1));
    let unlocked = subject.store.create(&key("a"), b"abc".to_vec(), None).await.unwrap();
    let locked = subject.store.create(&key("b"), b"abc".to_vec(), Some(at)).await.unwrap();
    subject.store.read_back(&key("a"), &unlocked, None).await.unwrap();
    subject.store.read_back(&key("b"), &locked, None).await.unwrap();
    subject.store.read_back(&key("b"), &locked, Some(at)).await.unwrap();
    let other = subject.store.create(&key("c"), b"abd".to_vec(), None).await.unwrap();
    for (key, version, lock) in [
        (key("absent"), &unlocked, None),
        (key("a"), &other, None),
        (key("a"), &unlocked, Some(at)),
        (key("b"), &locked, Some(later)),
    ] {
        let refused = subject.store.read_back(&key, version, lock).await;
        assert!(matches!(&refused, Err(ObjectError::NotAsWritten { .. })), "{key} {lock:?} {refused:?}");
    }
}
