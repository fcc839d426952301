//! Journal reports of Exchange and Microsoft 365, from the agent to the search.

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Archive, PeerMode, eventually};
use openarchive_testkit::smtp_client::SmtpClient;
use serde_json::Value;

macro_rules! report {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../services/mail/fixtures/journal/", $file))
            .as_slice()
    };
}

fn show(archive: &Archive, id: &str) -> Value {
    let shown = archive.ctl(&["message", "show", id, "-o", "json"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    shown.json()
}

#[test]
fn journal_reports_are_archived_with_their_mails_and_what_is_none_is_quarantined() {
    let archive = Archive::all();
    let options = AgentOptions { mode: PeerMode::ExchangeReport, ..AgentOptions::default() };
    let agent = Agent::start_new(&archive, options);
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let journal = ["journal@archive.example".to_owned()];
    let forged = report!("forged-inside-ordinary-mail.eml");
    let (first, second) = (report!("m365-bifurcated-first.eml"), report!("m365-bifurcated-second.eml"));
    for message in [first, second, report!("m365-clear-copy-beside-protected.eml"), forged] {
        // The null sender, as Exchange sends its reports.
        let reply = client.send("", &journal, message).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    }
    agent.wait_drained(60);
    // Three reports, the mail that all three carry, its protected form, and what is no report.
    archive.wait_searchable(6, 60);

    let found = eventually("the hidden recipient can be searched for", 30, || {
        let found = archive.ctl(&["search", "bcc:dave@example.com", "-o", "json"]).json();
        (found["total"].as_u64() == Some(1)).then_some(found)
    });
    let mail = show(&archive, found["results"][0]["id"].as_str().unwrap());
    assert!(mail["flags"].as_array().unwrap().contains(&"journaled".into()), "{mail}");
    assert_eq!(mail["observations"].as_array().unwrap().len(), 3, "one mail, three reports: {mail}");
    assert_eq!(archive.count("bcc:engineers@example.org"), 1, "the list that was expanded");

    let report = show(&archive, &Digest::of(first).to_string());
    assert!(report["flags"].as_array().unwrap().contains(&"journal-report".into()), "{report}");
    let quarantined = show(&archive, &Digest::of(forged).to_string());
    let observation = &quarantined["observations"][0];
    assert_eq!(observation["state"], "quarantined", "{observation}");
    assert_eq!(observation["reason"], "not a journal report", "{observation}");
    assert_eq!(archive.count("bcc:victim@example.org"), 0, "nothing of the forged envelope counts");
    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    assert_eq!(rows["rows"][0]["quarantined"], 1, "{rows}");
}
