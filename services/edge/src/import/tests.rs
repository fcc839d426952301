//! Imports of every kind of source: whole, interrupted, repeated, with mail being moved about.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::{Digest, FixedClock, Timestamp};
use openarchive_testkit::sample_mail::sample_mail;

use super::*;
use crate::buffer::{Buffer, BufferOptions, KnownCheckpoint, MessageId, Prune};

struct Site {
    _folder: tempfile::TempDir,
    data_dir: PathBuf,
    mail: PathBuf,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data_dir, mail) = (folder.path().join("data"), folder.path().join("mail"));
        fs::create_dir(&mail).unwrap();
        Self { _folder: folder, data_dir, mail }
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.mail.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn acceptor(&self) -> Acceptor {
        self.acceptor_up_to(1 << 30)
    }

    fn acceptor_up_to(&self, high_water_bytes: u64) -> Acceptor {
        let buffer =
            Buffer::open(BufferOptions { data_dir: self.data_dir.clone(), high_water_bytes }).unwrap();
        Acceptor::new(buffer, Arc::new(FixedClock::at(Timestamp::from_millis(1_700_000_000_000))))
    }

    async fn import(&self, path: &Path) -> ImportSummary {
        import(&self.acceptor(), path, ProgressDisplay::Hidden).await.unwrap()
    }

    /// How often each mail was observed.
    async fn observed(&self) -> BTreeMap<Digest, usize> {
        let acceptor = self.acceptor();
        let mut observed = BTreeMap::new();
        for mail in acceptor.buffer().pending(MessageId::START, 100_000).await.unwrap() {
            *observed.entry(mail.message).or_default() += 1;
        }
        observed
    }

    /// Interrupts imports until at least `count` mails are kept, and closes the buffer each time, as a kill would. Each
    /// one is stopped by the high-water mark before it is dropped, so that none can run through on a fast machine.
    async fn import_until(&self, path: &Path, count: u64) {
        loop {
            let stats = self.acceptor().buffer().stats().await.unwrap();
            if stats.messages >= count {
                return;
            }
            let acceptor = self.acceptor_up_to(stats.bytes + 1);
            let full = async {
                while acceptor.buffer().stats().await.unwrap().bytes <= stats.bytes {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = full => {}
                summary = import(&acceptor, path, ProgressDisplay::Hidden) => {
                    panic!("it was through before: {summary:?}")
                }
            }
        }
    }
}

fn mails(count: usize) -> Vec<Vec<u8>> {
    sample_mail(3, count).into_iter().map(|mail| mail.bytes).collect()
}

fn once_each(mails: &[Vec<u8>]) -> BTreeMap<Digest, usize> {
    mails.iter().map(|mail| (Digest::of(mail), 1)).collect()
}

fn mbox(mails: &[Vec<u8>]) -> Vec<u8> {
    let mut mbox = Vec::new();
    for mail in mails {
        mbox.extend_from_slice(b"From a@example.org Thu Jan  1 00:00:00 2026\n");
        mbox.extend_from_slice(mail);
        mbox.extend_from_slice(b"\n");
    }
    mbox
}

/// Imported whole; then once more, which adds one observation of each; interrupted at several places and repeated.
async fn check_each_once(path: impl Fn(&Site) -> PathBuf, mails: &[Vec<u8>]) {
    let site = Site::new();
    let source = path(&site);
    let count = mails.len() as u64;
    let first = site.import(&source).await;
    assert_eq!((first.imported, first.already_imported, first.skipped, first.complete), (count, 0, 0, true));
    assert_eq!(first.imported_bytes, mails.iter().map(|mail| mail.len() as u64).sum::<u64>());
    assert_eq!(site.observed().await, once_each(mails));
    let again = site.import(&source).await;
    assert_eq!((again.imported, again.already_imported), (count, 0), "a completed import is over");
    assert!(site.observed().await.values().all(|observations| *observations == 2));

    let site = Site::new();
    let source = path(&site);
    for part in 1..4 {
        site.import_until(&source, count * part / 4).await;
    }
    let kept: usize = site.observed().await.values().sum();
    let rest = site.import(&source).await;
    assert_eq!((rest.imported + rest.already_imported, rest.already_imported), (count, kept as u64));
    assert!(rest.already_imported >= count * 3 / 4 && rest.complete);
    assert_eq!(site.observed().await, once_each(mails), "each exactly once");
}

#[tokio::test]
async fn a_folder_of_files_is_imported_once_each_however_often_it_is_interrupted() {
    let mails = mails(120);
    let write = |site: &Site| {
        for (n, mail) in mails.iter().enumerate() {
            site.write(&format!("{}/{n}.eml", n % 3), mail);
        }
        site.mail.clone()
    };
    check_each_once(write, &mails).await;
}

#[tokio::test]
async fn an_mbox_is_imported_once_each_however_often_it_is_interrupted() {
    let mails = mails(120);
    check_each_once(|site| site.write("inbox", &mbox(&mails)), &mails).await;
}

#[tokio::test]
async fn a_maildir_is_imported_once_each_however_often_it_is_interrupted() {
    let mails = mails(120);
    let write = |site: &Site| {
        site.write("tmp/half", b"being written");
        for (n, mail) in mails.iter().enumerate() {
            let name = if n % 2 == 0 { format!("cur/{n}.host:2,S") } else { format!("new/{n}.host") };
            site.write(&name, mail);
        }
        site.mail.clone()
    };
    check_each_once(write, &mails).await;
}

#[tokio::test]
async fn bytes_and_envelope_are_taken_as_they_are() {
    let site = Site::new();
    let message = b"Subject: LF only\n\nFrom here on\n>From there\nno end".to_vec();
    let path = site.write("one.eml", &message);
    assert_eq!(site.import(&path).await.imported, 1);
    let acceptor = site.acceptor();
    let kept = acceptor.buffer().pending(MessageId::START, 10).await.unwrap().remove(0);
    assert_eq!((kept.message, kept.length), (Digest::of(&message), message.len() as u64));
    assert_eq!((kept.envelope.from.as_str(), kept.envelope.to.len()), ("", 0));
    assert_eq!((kept.envelope.peer.as_str(), kept.envelope.mode.as_str()), ("import", "import"));
}

#[tokio::test]
async fn what_is_no_mail_is_named_and_does_not_stop_the_rest() {
    let site = Site::new();
    site.write("1.eml", b"Subject: a\r\n\r\n");
    site.write("2.eml", b"");
    site.write("3.mbox", b"no From line\nFrom a@b Thu Jan  1 00:00:00 2026\nSubject: b\n\n");
    let summary = site.import(&site.mail).await;
    assert_eq!((summary.imported, summary.skipped, summary.complete), (2, 2, true));
    let skipped: Vec<_> = summary.skipped_list.iter().map(|skipped| &skipped.place[..]).collect();
    assert!(skipped[0].ends_with("2.eml") && skipped[1].ends_with("3.mbox at byte 0"), "{skipped:?}");
}

#[tokio::test]
async fn a_file_that_is_replaced_between_two_tries_is_another_mail() {
    let site = Site::new();
    let mails = mails(60);
    for (n, mail) in mails.iter().enumerate() {
        site.write(&format!("{n:03}.eml"), mail);
    }
    site.import_until(&site.mail, 30).await;
    fs::remove_file(site.mail.join("000.eml")).unwrap();
    site.write("000.eml", b"Subject: another\r\n\r\n");
    site.import(&site.mail).await;
    let mut expected = once_each(&mails);
    expected.insert(Digest::of(b"Subject: another\r\n\r\n"), 1);
    assert_eq!(site.observed().await, expected);
}

#[tokio::test]
async fn an_interrupted_mbox_that_grew_goes_on_and_one_that_was_rewritten_begins_anew() {
    let mails = mails(90);
    let site = Site::new();
    let path = site.write("inbox", &mbox(&mails[..80]));
    site.import_until(&path, 40).await;
    site.write("inbox", &mbox(&mails));
    assert!(site.import(&path).await.already_imported >= 40);
    assert_eq!(site.observed().await, once_each(&mails));

    let site = Site::new();
    let path = site.write("inbox", &mbox(&mails));
    site.import_until(&path, 40).await;
    let kept = site.observed().await.len();
    // The first mail is gone: everything stands elsewhere.
    site.write("inbox", &mbox(&mails[1..]));
    let summary = site.import(&path).await;
    assert_eq!((summary.imported, summary.already_imported), (89, 0));
    let observed = site.observed().await;
    assert_eq!(observed.len(), 90, "none is left out");
    assert_eq!(observed.values().filter(|observations| **observations == 2).count(), kept - 1);
}

#[tokio::test]
async fn mail_that_is_moved_from_new_to_cur_while_it_is_read_is_taken_once() {
    let site = Site::new();
    // Many, and changed from the far end in the order of reading: what is moved or deleted has not been read yet.
    let mails = mails(400);
    fs::create_dir(site.mail.join("cur")).unwrap();
    for (n, mail) in mails.iter().enumerate() {
        site.write(&format!("new/{n:03}.host"), mail);
    }
    let acceptor = site.acceptor();
    let (mut moved, mail) = (0, site.mail.clone());
    let mover = async {
        loop {
            // A reader who opens the mailbox while it is imported, and deletes one mail for good.
            if acceptor.buffer().stats().await.unwrap().messages > moved && moved < 400 {
                let last = 399 - moved;
                let from = mail.join(format!("new/{last:03}.host"));
                if moved == 0 {
                    fs::remove_file(from).unwrap();
                } else {
                    fs::rename(from, mail.join(format!("cur/{last:03}.host:2,RS"))).unwrap();
                }
                moved += 1;
            }
            tokio::task::yield_now().await;
        }
    };
    let summary = tokio::select! {
        summary = import(&acceptor, &site.mail, ProgressDisplay::Hidden) => summary.unwrap(),
        () = mover => unreachable!("it never ends"),
    };
    // One was deleted and others were moved, however few on a busy machine.
    assert!(moved > 2, "{moved}");
    assert_eq!((summary.imported, summary.skipped, summary.complete), (399, 1, true), "{summary:?}");
    assert_eq!(summary.skipped_list[0].reason, "is gone");
    drop(acceptor);
    let mut expected = once_each(&mails);
    expected.remove(&Digest::of(&mails[399]));
    assert_eq!(site.observed().await, expected);
}

#[tokio::test]
async fn at_the_high_water_mark_the_import_waits_until_there_is_room() {
    let site = Site::new();
    let mails = mails(30);
    let path = site.write("inbox", &mbox(&mails));
    let acceptor = site.acceptor_up_to(100_000);
    let buffer = acceptor.buffer().clone();
    let (mut pruned, mut was_full) = (Vec::new(), false);
    let agent = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            was_full |= !buffer.has_room();
            for mail in buffer.pending(MessageId::START, 5).await.unwrap() {
                pruned.push(mail.message);
                let prune = Prune { id: mail.id, leaf_index: 0, receipt: String::new() };
                let checkpoint = KnownCheckpoint { origin: "a".to_owned(), note: "b".to_owned() };
                buffer.prune(vec![prune], checkpoint, Timestamp::from_millis(0)).await.unwrap();
            }
        }
    };
    let summary = tokio::select! {
        summary = import(&acceptor, &path, ProgressDisplay::Hidden) => summary.unwrap(),
        () = agent => unreachable!("it never ends"),
    };
    assert!(was_full);
    assert_eq!((summary.imported, summary.skipped), (30, 0));
    drop((acceptor, buffer));
    let left = site.observed().await.into_keys();
    let all: std::collections::BTreeSet<_> = pruned.iter().copied().chain(left).collect();
    assert_eq!(all, once_each(&mails).into_keys().collect());
}

#[cfg(unix)]
#[tokio::test]
async fn an_import_with_something_unreadable_stays_open_for_its_repetition() {
    use std::os::unix::fs::symlink;
    let site = Site::new();
    let path = site.write("1.eml", b"Subject: a\r\n\r\n");
    // Opening a link that leads to itself fails even for root; the listing sees a file that is then replaced.
    let listing = Listing::of(&site.mail).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    let acceptor = site.acceptor();
    let run = Run::begin_or_resume(acceptor.buffer(), &site.mail).await.unwrap();
    let import = Import {
        acceptor: &acceptor,
        run,
        tally: Tally::default(),
        bar: Bar::new(ProgressDisplay::Hidden, 0),
    };
    import.take_all(&listing.sources).await.unwrap();
    assert!(!import.tally.is_complete());
    let summary = import.tally.into_summary(false);
    assert_eq!((summary.imported, summary.skipped), (0, 1));
    assert!(summary.skipped_list[0].reason.starts_with("cannot be read"), "{summary:?}");
}

#[tokio::test]
async fn a_path_that_is_not_there_is_an_error_that_names_it() {
    let site = Site::new();
    let error =
        import(&site.acceptor(), &site.mail.join("nowhere"), ProgressDisplay::Hidden).await.unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
