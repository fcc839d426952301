//! Poison jobs end among the dead letters, and `jobs retry` cures them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Archive, eventually};
use openarchive_testkit::sample_mail::SampleMail;

use crate::first_day::send_all;

/// Mails come in groups, one after the other, so that each group is in packs of its own.
const GROUPS: usize = 3;
const GROUP_MAILS: usize = 4;

/// Small mails that share no part with another.
fn group(number: usize) -> Vec<SampleMail> {
    let mail = |n: usize| SampleMail {
        from: "a@example.org".to_owned(),
        to: vec!["b@example.org".to_owned()],
        bytes: format!("From: a@example.org\r\nSubject: group{number} {n}\r\n\r\ntext {number} {n}\r\n")
            .into(),
    };
    (0..GROUP_MAILS).map(mail).collect()
}

fn packs(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            packs(&path, found);
        } else {
            found.insert(path);
        }
    }
}

fn is_exact(archive: &Archive, mail: &SampleMail) -> bool {
    let to = archive.scratch("one.eml");
    let _ = fs::remove_file(&to);
    let id = Digest::of(&mail.bytes).to_string();
    let got = archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]);
    // A mail that is not what was archived is not written at all.
    assert_eq!(got.code == 0, to.exists(), "{got:?}");
    got.code == 0 && fs::read(&to).unwrap() == mail.bytes
}

#[test]
fn mail_of_one_damaged_pack_waits_among_the_dead_letters_until_it_is_mended_and_retried() {
    let mut archive = Archive::dev();
    let mut seen = BTreeSet::new();
    let mut packs_of_groups = Vec::new();
    for number in 0..GROUPS {
        send_all(&archive.smtp(), &archive.authority(), &group(number));
        archive.wait_searchable(((number + 1) * GROUP_MAILS) as u64, 30);
        let mut found = BTreeSet::new();
        packs(&archive.data().join("objects/packs/default"), &mut found);
        packs_of_groups.push(&found - &seen);
        seen = found;
    }
    archive.terminate();
    let total = (GROUPS * GROUP_MAILS) as u64;

    // The first pack of the second group, which holds its first mail, is damaged. The index is lost: feeding it again
    // must fail for that mail, in plain sight, and for no other.
    let damaged = packs_of_groups[1].first().unwrap();
    let bytes = fs::read(damaged).unwrap();
    let modified = fs::metadata(damaged).unwrap().modified().unwrap();
    let broken: Vec<u8> = bytes.iter().enumerate().map(|(n, b)| if n > 5 { !b } else { *b }).collect();
    write(damaged, &broken, modified);
    let checked = archive.offline("fsck", &[]);
    assert_eq!(checked.code, 3, "{checked:?}");
    let pack = damaged.file_stem().unwrap().to_str().unwrap();
    assert!(checked.stdout.contains(pack), "fsck names pack {pack}: {checked:?}");
    fs::remove_dir_all(archive.data().join("index")).unwrap();
    archive.start();
    let dead = eventually("each job is done or a dead letter", 300, || {
        let jobs = archive.ctl(&["jobs", "list", "-o", "json"]).json();
        let dead = jobs["jobs"].as_array()?.clone();
        (jobs["dead"].as_u64()? > 0 && jobs["ready"] == 0 && jobs["running"] == 0).then_some(dead)
    });
    assert!(dead.iter().all(|job| job["state"] == "dead"), "{dead:?}");
    assert!(dead.iter().all(|job| !job["last_error"].as_str().unwrap().is_empty()), "{dead:?}");
    assert!((1..=GROUP_MAILS).contains(&dead.len()), "{dead:?}");
    archive.wait_searchable(total - dead.len() as u64, 30);
    for number in [0, 2] {
        assert_eq!(archive.count(&format!("subject:group{number}")), GROUP_MAILS as u64);
        assert!(group(number).iter().all(|mail| is_exact(&archive, mail)), "group {number}");
    }
    assert!(!is_exact(&archive, &group(1)[0]), "the damage is real");

    write(damaged, &bytes, modified);
    for job in &dead {
        let id = job["id"].as_i64().unwrap().to_string();
        let retried = archive.ctl(&["jobs", "retry", &id]);
        assert_eq!(retried.code, 0, "{retried:?}");
    }
    archive.wait_searchable(total, 60);
    assert!(group(1).iter().all(|mail| is_exact(&archive, mail)));
    assert_eq!(archive.ctl(&["jobs", "list", "-o", "json"]).json()["dead"], 0);
    let again = archive.ctl(&["jobs", "retry", "999999"]);
    assert_eq!(again.code, 1, "{again:?}");
    archive.terminate();
    archive.assert_clean();
}

fn write(path: &Path, bytes: &[u8], modified: std::time::SystemTime) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}
