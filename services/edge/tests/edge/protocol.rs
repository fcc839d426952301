//! What a mail server can see.

use openarchive_domain::Digest;
use openarchive_edge::{agent::Agent, buffer::State, smtp::session::StartTls};
use openarchive_mail::journal::JournalMode;

use crate::{
    agent::{Edge, NOW, config, peer},
    client::{Client, noise, stuffed},
};

#[test]
fn a_mail_over_starttls_is_buffered_byte_for_byte_with_its_envelope() {
    let edge = Edge::start(|config| config.listeners[0].start_tls = StartTls::Required);
    let mut client = edge.client();
    assert_eq!(client.say("MAIL FROM:<a@b.test>\r\n"), "530 5.7.0 must issue a STARTTLS command first\n");
    let mut client = client.start_tls(edge.folder.path());
    let content = b"Subject: hi\r\n\r\n.leading dot\r\nbare \r and \0\r\n..\r\n".to_vec();
    client.send("MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<to@b.test>\r\nRCPT TO:<bcc@b.test>\r\nDATA\r\n");
    for expected in ["250 2.1.0 ", "250 2.1.5 ", "250 2.1.5 ", "354 "] {
        assert!(client.reply().starts_with(expected));
    }
    client.send(stuffed(&content));
    assert_eq!(client.say(".\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(client.say("QUIT\r\n"), "221 2.0.0 bye\n");
    assert!(client.is_closed());

    let (mail, bytes) = edge.only_mail();
    assert_eq!(bytes, content);
    assert_eq!((mail.message, mail.length), (Digest::of(&content), content.len() as u64));
    assert_eq!((mail.envelope.from.as_str(), mail.envelope.peer.as_str()), ("", "127.0.0.1"));
    assert_eq!(mail.envelope.to, ["to@b.test", "bcc@b.test"]);
    assert_eq!((mail.state, mail.occurred_at), (State::Stored, NOW));
    assert_eq!(mail.flags, ["bare-cr", "nul"]);
}

#[test]
fn a_smuggled_mail_ends_the_connection_and_nothing_is_kept() {
    let edge = Edge::start(|_| {});
    for end in ["\n.\n", "\r\n.\n", "\n.\r\n"] {
        let mut client = edge.client();
        client.begin_mail();
        client.send(format!(
            "first{end}MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@x.test>\r\nDATA\r\nevil\r\n.\r\n"
        ));
        assert_eq!(client.reply(), "550 5.6.11 bare LF in the mail; lines end with CRLF\n", "{end:?}");
        assert!(client.is_closed(), "{end:?}");
    }
    assert_eq!(edge.pending(), []);
    let mut client = edge.client();
    assert_eq!(client.mail(b"first\r.\rMAIL FROM:<evil@x.test>\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(edge.only_mail().1, b"first\r.\rMAIL FROM:<evil@x.test>\r\n");
}

#[test]
fn a_mail_without_its_end_is_not_kept() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    client.begin_mail();
    client.send("all of it but the end\r\n");
    drop(client);
    assert_eq!(edge.client().mail(b"another\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(edge.only_mail().1, b"another\r\n");
}

#[test]
fn commands_in_clear_behind_starttls_are_never_obeyed() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    client.send("STARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<v@x.test>\r\nDATA\r\n");
    assert!(client.reply().starts_with("554 5.5.1 "));
    assert!(client.is_closed());
    // What arrives after our 220 is taken for a handshake, which it is not.
    let mut client = edge.client();
    assert!(client.say("STARTTLS\r\n").starts_with("220 "));
    client.send("MAIL FROM:<evil@x.test>\r\n");
    while let Some(reply) = client.try_reply() {
        assert!(!reply.starts_with("250"), "{reply}");
    }
    assert_eq!(edge.pending(), []);
}

#[test]
fn addresses_of_any_kind_are_kept_and_what_is_not_utf8_is_refused() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    assert!(client.say("MAIL FROM:<grüße@bücher.test> SMTPUTF8\r\n").starts_with("250"));
    assert!(client.say(b"RCPT TO:<j\xfcrgen@b.test>\r\n").starts_with("553 5.1.3 "));
    assert!(client.say("RCPT TO:<\"j d\"@b.test>\r\n").starts_with("250"));
    assert!(client.say("RCPT TO:<Jürgen@b.test>\r\n").starts_with("250"));
    assert!(client.say("DATA\r\n").starts_with("354"));
    assert_eq!(client.say("x\r\n.\r\n"), "250 2.0.0 kept as 1\n");
    let (mail, _) = edge.only_mail();
    assert_eq!(mail.envelope.from, "grüße@bücher.test");
    assert_eq!(mail.envelope.to, ["\"j d\"@b.test", "Jürgen@b.test"]);
}

#[test]
fn each_peer_has_one_mode_and_a_stranger_none() {
    let edge = Edge::start(|config| {
        config.listeners[0].peers = vec![peer("127.0.0.1/32", JournalMode::JrnPlus)];
        config.listeners.push(openarchive_edge::config::ListenerConfig {
            name: "other".to_owned(),
            peers: vec![peer("192.0.2.0/24", JournalMode::Plain)],
            ..config.listeners[0].clone()
        });
    });
    let (mut stranger, greeting) = Client::connect(edge.agent().listening()[1].address);
    assert_eq!(greeting, "554 5.7.1 this address may not journal here\n");
    assert!(stranger.is_closed());

    let mut client = edge.client();
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<jrn+bcc=b.test@journal.test>\r\nDATA\r\n");
    for _ in 0..3 {
        client.reply();
    }
    assert_eq!(client.say("x\r\n.\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(client.mail(b"X-Envelope-To: forged@b.test\r\n\r\n"), "250 2.0.0 kept as 2\n");
    let pending = edge.pending();
    assert_eq!(
        (pending[0].envelope.to.join(" "), &pending[0].state),
        ("bcc@b.test".to_owned(), &State::Stored)
    );
    assert_eq!(pending[1].envelope.to, ["to@example.com"]);
    assert!(matches!(pending[1].state, State::Quarantined { .. }), "what does not fit is kept and flagged");
}

#[test]
fn a_large_mail_goes_through_the_spool_and_several_at_once_do_not_mix() {
    let edge = Edge::start(|_| {});
    let mails: Vec<Vec<u8>> = (1..=4).map(|n| noise(n, 700_000 * n as usize)).collect();
    std::thread::scope(|scope| {
        for mail in &mails {
            scope.spawn(|| {
                let reply = edge.client().start_tls(edge.folder.path()).mail(mail);
                assert!(reply.starts_with("250 2.0.0 kept as "), "{reply}");
            });
        }
    });
    let mut digests: Vec<Digest> = edge.pending().iter().map(|m| m.message).collect();
    let mut expected: Vec<Digest> = mails.iter().map(|mail| Digest::of(mail)).collect();
    digests.sort_unstable();
    expected.sort_unstable();
    assert_eq!(digests, expected);
    let spool = edge.folder.path().join("spool");
    assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn stopping_tells_idle_sessions_and_lets_a_mail_finish() {
    let mut edge = Edge::start(|_| {});
    let mut idle = edge.client();
    let mut busy = edge.client();
    busy.begin_mail();
    busy.send("half of it\r\n");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(idle.reply(), "421 4.3.2 shutting down, try again later\n");
            assert!(idle.is_closed());
            // Only now, when the agent is known to be stopping.
            assert_eq!(busy.say("the other half\r\n.\r\n"), "250 2.0.0 kept as 1\n");
            assert_eq!(busy.reply(), "421 4.3.2 shutting down, try again later\n");
        });
        edge.stop();
    });
}

#[test]
fn two_agents_on_one_data_folder_are_one_too_many() {
    let edge = Edge::start(|_| {});
    let second = Agent::start(
        config(edge.folder.path().to_owned()),
        std::sync::Arc::new(openarchive_domain::FixedClock::at(NOW)),
    );
    let error = edge.runtime.block_on(second).err().unwrap().to_string();
    assert!(error.contains("another agent runs on"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let edge = Edge::start(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let mut second = config(folder.path().to_owned());
    second.listeners[0].address = edge.address;
    let clock = std::sync::Arc::new(openarchive_domain::FixedClock::at(NOW));
    let error = edge.runtime.block_on(Agent::start(second, clock)).err().unwrap().to_string();
    assert!(error.contains(&edge.address.to_string()), "{error}");
}
