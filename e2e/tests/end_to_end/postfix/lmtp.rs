//! Journaling over LMTP (RFC 2033): one delivery, an answer for each recipient.

use super::*;

const BY_BCC_OVER_LMTP: Journal = Journal {
    file: ("journal.re", JOURNAL_RE),
    settings: "recipient_bcc_maps = regexp:{etc}/journal.re\ntransport_maps = inline:{ { journal.test = lmtp:inet:127.0.0.1:{port} } }",
};

#[test]
fn postfix_journals_over_lmtp_and_is_answered_for_each_recipient() {
    if must_skip() {
        return;
    }
    let archive = Archive::all();
    let options = AgentOptions { mode: PeerMode::JrnPlus, protocol: "lmtp", ..AgentOptions::default() };
    let mut agent = Agent::start_new(&archive, options);
    let home = home();
    let postfix = Postfix::start(home.path(), agent.options.port, &BY_BCC_OVER_LMTP);

    postfix.send("sender@example.test", &["open@example.test", "hidden@example.test"], &message("first"));
    let envelopes = eventually("the mail is archived with every recipient", 60, || {
        let found = envelope_recipients(&archive, "subject:first");
        (found.contains("hidden@example.test") && found.contains("open@example.test")).then_some(found)
    });
    assert!(!envelopes.contains("journal.test"), "{envelopes}");
    let answers = eventually("both recipients are answered", 30, || {
        let log = postfix.log();
        let answered = |to: &str| {
            let line = log
                .lines()
                .find(|line| line.contains(to) && line.contains("status=sent (250 2.0.0 kept as"))?;
            line.split("status=").nth(1).map(str::to_owned)
        };
        Some((answered("to=<jrn+open=example.test@")?, answered("to=<jrn+hidden=example.test@")?))
    });
    assert_eq!(answers.0, answers.1, "one mail, kept once");
    assert!(postfix.log().contains("TLS connection established to 127.0.0.1"), "LMTP with STARTTLS");

    agent.terminate();
    postfix.send("sender@example.test", &["open@example.test"], &message("held"));
    eventually("Postfix holds what it cannot deliver", 30, || (postfix.queued() >= 1).then_some(()));
    agent.start();
    eventually("the queue drains", 60, || (postfix.queued() == 0).then_some(()));
    agent.wait_drained(60);
    eventually("what was held is archived", 60, || (archive.count("subject:held") == 1).then_some(()));
}
