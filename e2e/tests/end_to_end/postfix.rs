//! A real Postfix journals to the agent. Needs root: Postfix demands it at start.

mod chunking;
mod header;
mod instance;
mod lmtp;

use openarchive_e2e::{Agent, AgentOptions, Archive, PeerMode, eventually};

use instance::{Journal, Postfix, must_skip};
use serde_json::Value;

/// As docs/agent.md says, over SMTP.
const BY_BCC: Journal = Journal {
    file: ("journal.re", JOURNAL_RE),
    settings: "recipient_bcc_maps = regexp:{etc}/journal.re\ntransport_maps = inline:{ { journal.test = smtp:[127.0.0.1]:{port} } }\nsmtp_tls_policy_maps = inline:{ { [127.0.0.1]:{port} = encrypt } }",
};

const JOURNAL_RE: &str = "/^(.+)@(.+)$/ jrn+$1=$2@journal.test\n";

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("oa-postfix-").tempdir_in("/tmp").unwrap()
}

fn message(subject: &str) -> Vec<u8> {
    format!("From: Sender <sender@example.test>\r\nTo: open@example.test\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n")
        .into_bytes()
}

#[test]
fn postfix_journals_every_recipient_over_starttls_and_its_queue_holds_while_the_agent_is_down() {
    if must_skip() {
        return;
    }
    let archive = Archive::all();
    let options = AgentOptions { mode: PeerMode::JrnPlus, ..AgentOptions::default() };
    let mut agent = Agent::start_new(&archive, options);
    let home = home();
    let postfix = Postfix::start(home.path(), agent.options.port, &BY_BCC);

    // hidden@ stands in no header: only the envelope knows of it.
    postfix.send("sender@example.test", &["open@example.test", "hidden@example.test"], &message("first"));
    // The null sender: a bounce from outside.
    postfix.send("", &["open@example.test"], &message("bounce"));
    let envelopes = eventually("both mails are archived with every recipient", 60, || {
        let first = envelope_recipients(&archive, "subject:first");
        let bounce = envelope_recipients(&archive, "subject:bounce");
        (first.contains("hidden@example.test") && first.contains("open@example.test") && !bounce.is_empty())
            .then_some((first, bounce))
    });
    assert!(envelopes.1.contains("open@example.test"), "{envelopes:?}");
    for (query, sender) in [("subject:first", "sender@example.test"), ("subject:bounce", "")] {
        let envelopes = envelopes_of(&archive, query);
        assert!(envelopes.iter().all(|envelope| envelope["from"] == sender), "{query}: {envelopes:?}");
    }
    assert!(!envelopes.0.contains("journal.test"), "the journal's own addresses are undone: {envelopes:?}");
    assert_eq!(archive.count("bcc:hidden@example.test"), 1, "the hidden recipient can be searched for");

    agent.terminate();
    for n in 0..5 {
        postfix.send("sender@example.test", &["open@example.test"], &message(&format!("held{n}")));
    }
    eventually("Postfix holds what it cannot deliver", 30, || (postfix.queued() >= 5).then_some(()));
    assert_eq!(archive.count("subject:held*"), 0);
    agent.start();
    eventually("the queue drains", 60, || (postfix.queued() == 0).then_some(()));
    agent.wait_drained(60);
    eventually("what was held is archived", 60, || (archive.count("subject:held*") == 5).then_some(()));

    assert!(postfix.log().contains("TLS connection established to 127.0.0.1"), "journaled over STARTTLS");
}

/// Every envelope recipient of every observation of the mails that a query finds.
fn envelope_recipients(archive: &Archive, query: &str) -> String {
    let envelopes = envelopes_of(archive, query);
    envelopes.iter().map(|envelope| envelope["to"].to_string()).collect::<Vec<_>>().join(" ")
}

/// The envelope of every observation of the mails that a query finds.
fn envelopes_of(archive: &Archive, query: &str) -> Vec<Value> {
    let found = archive.ctl(&["search", query, "-o", "json"]);
    if found.code != 0 {
        return Vec::new();
    }
    let mut envelopes = Vec::new();
    for hit in found.json()["results"].as_array().into_iter().flatten() {
        let shown = archive.ctl(&["message", "show", hit["id"].as_str().unwrap(), "-o", "json"]).json();
        for observation in shown["observations"].as_array().into_iter().flatten() {
            envelopes.push(observation["envelope"].clone());
        }
    }
    envelopes
}
