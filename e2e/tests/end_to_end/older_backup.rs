//! A database is restored from an older backup than the objects: the archive says what to do, and doing it helps.

use std::{fs, path::Path, process::Command};

use openarchive_domain::Digest;
use openarchive_e2e::{Archive, eventually};
use openarchive_testkit::sample_mail::sample_mail;

use crate::first_day::send_all;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn an_older_database_takes_no_mail_and_the_words_of_the_refusal_lead_back() {
    let mut archive = Archive::dev();
    let (before, after, refused) = (sample_mail(61, 5), sample_mail(62, 5), sample_mail(63, 3));
    let database = archive.data().join("postgres");
    let (backup, away) = (archive.scratch("backup"), archive.scratch("moved-away"));

    send_all(&archive.smtp(), &archive.authority(), &before);
    archive.wait_searchable(5, 60);
    archive.terminate();
    copy(&database, &backup);
    archive.start();
    send_all(&archive.smtp(), &archive.authority(), &after);
    archive.wait_searchable(10, 60);
    archive.terminate();
    archive.assert_clean();
    fs::remove_dir_all(&database).unwrap();
    fs::rename(&backup, &database).unwrap();

    // The agent accepts and keeps; the ledger takes nothing on top of a history that it has signed otherwise.
    archive.start();
    send_all(&archive.smtp(), &archive.authority(), &refused);
    let log = archive.scratch("archive.log");
    eventually("the archive says what to do", 60, || {
        let said = fs::read_to_string(&log).unwrap();
        let way = "stop the archive, move its database away and run `openarchive rebuild`";
        (said.contains("was set back") && said.contains(way)).then_some(())
    });
    archive.terminate();
    fs::rename(&database, &away).unwrap();
    let rebuilt = archive.offline("rebuild", &[]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");

    archive.start();
    archive.wait_searchable(13, 60);
    for mail in before.iter().chain(&after).chain(&refused) {
        let to = archive.scratch("one.eml");
        let id = Digest::of(&mail.bytes).to_string();
        assert_eq!(archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]).code, 0);
        assert_eq!(fs::read(&to).unwrap(), mail.bytes);
    }
    archive.terminate();
    archive.assert_clean();
}
