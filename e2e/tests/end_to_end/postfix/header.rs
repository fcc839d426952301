//! Journaling by an envelope in the header, as Postfix writes it (access(5), PREPEND).

use super::*;

const BY_HEADER: Journal = Journal {
    file: ("envelope.re", "/^<>$/ PREPEND X-Envelope-From: <>\n/^(.+)$/ PREPEND X-Envelope-From: <$1>\n"),
    settings: "smtpd_sender_restrictions = check_sender_access regexp:{etc}/envelope.re\nsmtpd_recipient_restrictions = check_recipient_access inline:{ { open@example.test = PREPEND X-Envelope-To: <open@example.test> }, { hidden@example.test = PREPEND X-Envelope-To: <hidden@example.test> } }\nalways_bcc = archive@journal.test\ntransport_maps = inline:{ { journal.test = smtp:[127.0.0.1]:{port} } }",
};

#[test]
fn the_envelope_that_postfix_writes_into_the_header_is_archived() {
    if must_skip() {
        return;
    }
    let archive = Archive::all();
    let options = AgentOptions { mode: PeerMode::XEnvelopeTo, ..AgentOptions::default() };
    let agent = Agent::start_new(&archive, options);
    let home = home();
    let postfix = Postfix::start(home.path(), agent.options.port, &BY_HEADER);
    postfix.send("sender@example.test", &["open@example.test", "hidden@example.test"], &message("first"));
    postfix.send("", &["open@example.test"], &message("bounce"));
    let recipients = eventually("the mail is archived with every recipient", 60, || {
        let found = envelope_recipients(&archive, "subject:first");
        found.contains("hidden@example.test").then_some(found)
    });
    assert!(recipients.contains("open@example.test") && !recipients.contains("journal.test"), "{recipients}");
    eventually("the bounce is archived", 60, || (archive.count("subject:bounce") == 1).then_some(()));
    for (query, sender) in [("subject:first", "sender@example.test"), ("subject:bounce", "")] {
        let id = archive.ctl(&["search", query, "-o", "json"]).json()["results"][0]["id"].clone();
        let shown = archive.ctl(&["message", "show", id.as_str().unwrap(), "-o", "json"]).json();
        let observation = &shown["observations"][0];
        assert_eq!(observation["envelope"]["from"], sender, "{observation}");
        assert_eq!(observation["state"], "stored", "{observation}");
    }
}
