//! PostgreSQL is destroyed; objects and keys are not.

use std::fs;

use openarchive_domain::Digest;
use openarchive_e2e::Archive;
use openarchive_testkit::sample_mail::sample_mail;

use crate::first_day::send_all;

#[test]
fn without_its_database_the_archive_is_rebuilt_and_old_receipts_still_verify() {
    let mut archive = Archive::dev();
    let mails = sample_mail(41, 50);
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(50, 60);
    let id = Digest::of(&mails[7].bytes).to_string();
    let (eml, proof) = (archive.scratch("kept.eml"), archive.scratch("kept.tlog-proof"));
    fs::write(&eml, &mails[7].bytes).unwrap();
    assert_eq!(archive.ctl(&["proof", &id, "-o", proof.to_str().unwrap()]).code, 0);
    let before =
        archive.ctl(&["search", "report OR invoice", "--all", "-o", "json"]).json()["results"].clone();
    archive.terminate();

    let refused = archive.offline("rebuild", &[]);
    assert_eq!(refused.code, 1, "a full database is not overwritten: {refused:?}");
    fs::remove_dir_all(archive.data().join("postgres")).unwrap();
    fs::remove_dir_all(archive.data().join("index")).unwrap();
    let rebuilt = archive.offline("rebuild", &[]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    archive.assert_clean();

    archive.start();
    archive.wait_searchable(50, 60);
    for mail in &mails {
        let id = Digest::of(&mail.bytes).to_string();
        let to = archive.scratch("one.eml");
        assert_eq!(archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]).code, 0);
        assert_eq!(fs::read(&to).unwrap(), mail.bytes);
    }
    let after =
        archive.ctl(&["search", "report OR invoice", "--all", "-o", "json"]).json()["results"].clone();
    assert_eq!(ids(&before), ids(&after), "the rebuilt index gives the same answers");
    let policy = archive.data().join("trust.policy");
    let [eml, proof, policy] = [&eml, &proof, &policy].map(|path| path.to_str().unwrap());
    let verified = archive.ctl(&["verify", eml, "--proof", proof, "--policy", policy]);
    assert_eq!(verified.code, 0, "{verified:?}");
    // Life goes on over the rebuilt database.
    send_all(&archive.smtp(), &archive.authority(), &sample_mail(42, 5));
    archive.wait_searchable(55, 60);
    archive.terminate();
    archive.assert_clean();
}

fn ids(results: &serde_json::Value) -> Vec<String> {
    results.as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}
