//! A poison job ends among the dead letters, and `jobs retry` cures it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use openarchive_e2e::{Archive, eventually};
use openarchive_testkit::sample_mail::sample_mail;

use crate::first_day::send_all;

fn packs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { packs(&path, found) } else { found.push(path) }
    }
}

#[test]
fn mail_whose_pack_is_damaged_waits_among_the_dead_letters_until_it_is_mended_and_retried() {
    let mut archive = Archive::dev();
    send_all(&archive.smtp(), &archive.authority(), &sample_mail(91, 4));
    archive.wait_searchable(4, 30);
    archive.terminate();

    // Mail packs are damaged and the index is lost: feeding it again must fail for that mail, in plain sight.
    let mut found = Vec::new();
    packs(&archive.data().join("objects/packs/default"), &mut found);
    let kept: Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> = found
        .iter()
        .map(|path| (path.clone(), fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap()))
        .collect();
    for (path, bytes, modified) in &kept {
        write(
            path,
            &bytes.iter().enumerate().map(|(n, b)| if n > 5 { !b } else { *b }).collect::<Vec<_>>(),
            *modified,
        );
    }
    fs::remove_dir_all(archive.data().join("index")).unwrap();
    archive.start();
    let dead = eventually("the jobs are dead letters", 600, || {
        let jobs = archive.ctl(&["jobs", "list", "--state", "dead", "-o", "json"]).json();
        let jobs = jobs["jobs"].as_array()?.clone();
        (jobs.len() == 4).then_some(jobs)
    });
    assert!(dead.iter().all(|job| !job["last_error"].as_str().unwrap().is_empty()), "{dead:?}");
    assert_eq!(archive.count("*"), 0);

    for (path, bytes, modified) in &kept {
        write(path, bytes, *modified);
    }
    for job in &dead {
        let id = job["id"].as_i64().unwrap().to_string();
        let retried = archive.ctl(&["jobs", "retry", &id]);
        assert_eq!(retried.code, 0, "{retried:?}");
    }
    archive.wait_searchable(4, 60);
    let again = archive.ctl(&["jobs", "retry", "999999"]);
    assert_eq!(again.code, 1, "{again:?}");
}

fn write(path: &Path, bytes: &[u8], modified: std::time::SystemTime) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}
