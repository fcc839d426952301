//! What every backend of the object store promises. Each backend runs the same [`contract`].

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it finds the unexpected")]

mod contract;

use std::{path::Path, sync::Arc};

use openarchive_domain::{FixedClock, Timestamp};
use openarchive_objects::{LocalStore, ObjectStore};

/// A store of its own, empty, with a clock that the test moves and a folder on the same machine for files to hand in.
pub(crate) struct Subject {
    pub(crate) store: ObjectStore,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) folder: tempfile::TempDir,
}

/// The clock of a new subject: 2023-11-14.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn local(root: &Path, clock: &Arc<FixedClock>) -> LocalStore {
    LocalStore::open(root, clock.clone()).unwrap()
}

fn local_subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(NOW));
    let store = local(&folder.path().join("objects"), &clock).into();
    Subject { store, clock, folder }
}

contract::suite!(local_backend, local_subject);

mod local_files {
    use std::os::unix::fs::MetadataExt as _;

    use openarchive_objects::{Content, ObjectError};

    use super::{contract::key, *};

    #[tokio::test]
    async fn objects_are_files_under_their_key_that_nobody_may_write() {
        let subject = local_subject();
        subject.store.create(&key("a/b/c.enc"), b"abc".to_vec(), None).await.unwrap();
        let path = subject.folder.path().join("objects/a/b/c.enc");
        let metadata = path.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o444);
        assert_eq!(metadata.nlink(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert!(!subject.store.worm().worm);
    }

    #[tokio::test]
    async fn what_was_written_is_there_with_its_lock_after_reopening() {
        let subject = local_subject();
        let until = Timestamp::from_millis(NOW.as_millis() + 1);
        subject.store.create(&key("a/b"), b"abc".to_vec(), Some(until)).await.unwrap();
        let root = subject.folder.path().join("objects");
        drop(subject.store);
        let again: ObjectStore = local(&root, &subject.clock).into();
        assert_eq!(again.get(&key("a/b")).await.unwrap(), b"abc");
        assert!(matches!(again.delete(&key("a/b")).await, Err(ObjectError::Locked { .. })));
    }

    #[tokio::test]
    async fn what_dead_writers_left_is_no_object_and_goes_at_the_next_opening() {
        let subject = local_subject();
        subject.store.create(&key("a"), b"abc".to_vec(), None).await.unwrap();
        let root = subject.folder.path().join("objects");
        let temporary = root.join(".tmp");
        let alive =
            std::fs::read_dir(&temporary).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(alive, 1);
        for dead in ["dead-with-owner", "dead-without-owner"] {
            std::fs::create_dir(temporary.join(dead)).unwrap();
            std::fs::write(temporary.join(dead).join("half"), b"ab").unwrap();
        }
        std::fs::write(temporary.join("dead-with-owner/owner"), b"").unwrap();
        assert_eq!(subject.store.list("").await.unwrap(), [key("a")]);

        let second = local(&root, &subject.clock);
        assert!(!temporary.join("dead-with-owner").exists());
        assert!(!temporary.join("dead-without-owner").exists());
        // The first store is alive, and so are its temporary files.
        subject.store.create(&key("b"), b"b".to_vec(), None).await.unwrap();
        let second: ObjectStore = second.into();
        second.create(&key("c"), b"c".to_vec(), None).await.unwrap();
        assert_eq!(subject.store.list("").await.unwrap(), [key("a"), key("b"), key("c")]);
    }

    #[tokio::test]
    async fn no_temporary_file_outlives_its_call() {
        let subject = local_subject();
        let file = subject.folder.path().join("handed-in");
        std::fs::write(&file, b"abc").unwrap();
        subject.store.create(&key("a"), Content::File(file.clone()), None).await.unwrap();
        subject.store.create(&key("a"), b"x".to_vec(), None).await.unwrap_err();
        subject.store.replace(&key("a"), b"y".to_vec()).await.unwrap();
        subject.store.delete(&key("a")).await.unwrap();
        let missing = subject.store.create(&key("b"), Content::File(file), None).await;
        assert!(matches!(missing, Err(ObjectError::Unavailable { .. })));
        let mut left = Vec::new();
        for session in std::fs::read_dir(subject.folder.path().join("objects/.tmp")).unwrap() {
            let session = session.unwrap().path();
            if session.is_dir() {
                left.extend(std::fs::read_dir(session).unwrap().map(|entry| entry.unwrap().file_name()));
            }
        }
        assert_eq!(left, ["owner"]);
    }

    #[tokio::test]
    async fn foreign_files_in_the_folder_are_not_listed() {
        let subject = local_subject();
        let root = subject.folder.path().join("objects");
        std::fs::write(root.join("not a key"), b"").unwrap();
        std::fs::write(root.join(".hidden"), b"").unwrap();
        std::os::unix::fs::symlink("/", root.join("link")).unwrap();
        assert_eq!(subject.store.list("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_name_through_an_object_or_of_a_folder_is_refused() {
        let subject = local_subject();
        subject.store.create(&key("a/b"), b"abc".to_vec(), None).await.unwrap();
        for conflict in [
            subject.store.create(&key("a/b/c"), b"x".to_vec(), None).await,
            subject.store.replace(&key("a/b/c"), b"x".to_vec()).await,
            subject.store.replace(&key("a"), b"x".to_vec()).await,
        ] {
            assert!(matches!(conflict, Err(ObjectError::KeyConflict { .. })), "{conflict:?}");
        }
        assert!(matches!(
            subject.store.create(&key("a"), b"x".to_vec(), None).await,
            Err(ObjectError::Exists { .. })
        ));
        assert!(subject.store.head(&key("a")).await.unwrap().is_none());
        assert!(subject.store.head(&key("a/b/c")).await.unwrap().is_none());
        assert!(matches!(subject.store.get(&key("a")).await, Err(ObjectError::NotFound { .. })));
        subject.store.delete(&key("a")).await.unwrap();
        subject.store.delete(&key("a/b/c")).await.unwrap();
        assert_eq!(subject.store.get(&key("a/b")).await.unwrap(), b"abc");
    }

    #[test]
    fn missing_folders_are_made_on_opening() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data/deep/objects");
        for _ in 0..2 {
            local(&root, &Arc::new(FixedClock::at(NOW)));
            assert!(root.is_dir());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let clock = Arc::new(FixedClock::at(NOW));
        let error = LocalStore::open(&folder.path().join("file/objects"), clock).unwrap_err();
        assert!(error.to_string().contains("file/objects"), "{error}");
    }
}
