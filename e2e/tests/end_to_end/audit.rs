//! Every read is an audit leaf, durable before the answer.

use openarchive_domain::Digest;
use openarchive_e2e::Archive;
use openarchive_testkit::sample_mail::sample_mail;

use crate::first_day::send_all;

fn audit_actions(archive: &Archive) -> Vec<String> {
    let answer = archive.ctl(&["audit", "list", "-o", "json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let answer = answer.json();
    let leaves = answer["leaves"].as_array().unwrap();
    leaves.iter().filter_map(|leaf| leaf["action"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_read_leaves_a_leaf_and_no_leaf_says_what_was_read() {
    let archive = Archive::dev();
    let mails = sample_mail(71, 3);
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(3, 30);
    let id = Digest::of(&mails[0].bytes).to_string();
    let before = audit_actions(&archive).len();
    archive.ctl(&["search", "zeppelinfahrt", "-o", "json"]);
    archive.ctl(&["message", "show", &id]);
    archive.ctl(&["message", "get", &id, "-o", archive.scratch("x.eml").to_str().unwrap()]);
    archive.ctl(&["proof", &id, "-o", archive.scratch("x.tlog-proof").to_str().unwrap()]);
    archive.ctl(&["completeness"]);
    let answer = archive.ctl(&["audit", "list", "-o", "json"]);
    let actions = audit_actions(&archive);
    assert!(actions.len() >= before + 6, "{actions:?}");
    for personal in ["zeppelinfahrt", id.trim_start_matches("sha256:"), "example.org", "alice"] {
        assert!(!answer.stdout.contains(personal), "the audit log says {personal}: {}", answer.stdout);
    }
}
