//! PostgreSQL is destroyed; objects and keys are not.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Archive, eventually, program};
use openarchive_testkit::sample_mail::{SampleMail, sample_mail};
use rustix::process::Signal;

use crate::first_day::send_all;

/// A stopped archive whose database and index are gone, and a receipt from before.
struct Ruin {
    archive: Archive,
    mails: Vec<SampleMail>,
    eml: PathBuf,
    proof: PathBuf,
    hits: Vec<String>,
}

impl Ruin {
    fn of(mails: Vec<SampleMail>) -> Self {
        let mut archive = Archive::dev();
        send_all(&archive.smtp(), &archive.authority(), &mails);
        archive.wait_searchable(mails.len() as u64, 60);
        let id = Digest::of(&mails[7].bytes).to_string();
        let (eml, proof) = (archive.scratch("kept.eml"), archive.scratch("kept.tlog-proof"));
        fs::write(&eml, &mails[7].bytes).unwrap();
        assert_eq!(archive.ctl(&["proof", &id, "-o", proof.to_str().unwrap()]).code, 0);
        let hits = hits(&archive);
        archive.terminate();
        let refused = archive.offline("rebuild", &[]);
        assert_eq!(refused.code, 1, "a full database is not overwritten: {refused:?}");
        fs::remove_dir_all(archive.data().join("postgres")).unwrap();
        fs::remove_dir_all(archive.data().join("index")).unwrap();
        Self { archive, mails, eml, proof, hits }
    }

    /// Rebuilt and started, it has every mail byte for byte, gives the same answers, and the receipt holds.
    fn assert_whole_again(&mut self) {
        self.archive.assert_clean();
        self.archive.start();
        let archive = &self.archive;
        archive.wait_searchable(self.mails.len() as u64, 60);
        for mail in &self.mails {
            let id = Digest::of(&mail.bytes).to_string();
            let to = archive.scratch("one.eml");
            assert_eq!(archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]).code, 0);
            assert_eq!(fs::read(&to).unwrap(), mail.bytes);
        }
        assert_eq!(hits(archive), self.hits, "the rebuilt index gives the same answers");
        let policy = archive.data().join("trust.policy");
        let [eml, proof, policy] = [&self.eml, &self.proof, &policy].map(|path| path.to_str().unwrap());
        let verified = archive.ctl(&["verify", eml, "--proof", proof, "--policy", policy]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }

    fn marker(&self) -> PathBuf {
        self.archive.data().join("rebuild-unfinished")
    }
}

fn hits(archive: &Archive) -> Vec<String> {
    let found = archive.ctl(&["search", "report OR invoice", "--all", "-o", "json"]).json();
    let hits = found["results"].as_array().unwrap();
    hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_its_database_the_archive_is_rebuilt_and_old_receipts_still_verify() {
    let mut ruin = Ruin::of(sample_mail(41, 50));
    let rebuilt = ruin.archive.offline("rebuild", &[]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    ruin.assert_whole_again();
    // Life goes on over the rebuilt database.
    let archive = &mut ruin.archive;
    send_all(&archive.smtp(), &archive.authority(), &sample_mail(42, 5));
    archive.wait_searchable(55, 60);
    archive.terminate();
    archive.assert_clean();
}

/// Where a rebuild is killed.
#[derive(Debug, Clone, Copy)]
enum Killed {
    /// It has begun to write.
    Begun,
    /// It has said this line's first word: what the word names is done, and the next is begun.
    Said(&'static str),
}

#[test]
fn a_rebuild_that_is_killed_anywhere_and_repeated_brings_everything_back() {
    let mut ruin = Ruin::of(sample_mail(43, 80));
    for at in [Killed::Begun, Killed::Said("ledger"), Killed::Said("storage")] {
        kill_rebuild(&ruin, at);
        assert!(ruin.marker().exists(), "it was killed in the middle: {at:?}");
        let refused = ruin.archive.offline("all", &["--ingest", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("run `openarchive rebuild"), "{refused:?}");
    }
    let rebuilt = ruin.archive.offline("rebuild", &[]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    assert!(!ruin.marker().exists());
    ruin.assert_whole_again();
    ruin.archive.terminate();
    ruin.archive.assert_clean();
}

fn kill_rebuild(ruin: &Ruin, at: Killed) {
    let mut rebuild = Command::new(program("openarchive"))
        .arg("rebuild")
        .arg("--data")
        .arg(ruin.archive.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    match at {
        Killed::Begun => eventually("the rebuild has begun", 60, || ruin.marker().exists().then_some(())),
        Killed::Said(word) => {
            let mut lines = BufReader::new(rebuild.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().starts_with(word)), "it says {word}");
        }
    }
    rebuild.kill().unwrap();
    let status = rebuild.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it was killed before its end: {at:?}");
}
