//! Journal modes and LMTP as a mail server sees them.

use openarchive_edge::{buffer::State, smtp::session::Protocol};
use openarchive_mail::journal::{JournalMode, Unfit};

use crate::{
    agent::{Edge, bytes_of, peer},
    client::{Client, report_of, stuffed},
};

fn in_mode(mode: JournalMode) -> Edge {
    Edge::start(|config| config.listeners[0].peers = vec![peer("127.0.0.0/8", mode)])
}

const MAIL: &[u8] = b"Subject: in a report\r\n\r\nbody\r\n";

#[test]
fn a_journal_report_is_answered_with_the_numbers_of_itself_and_its_mail() {
    let edge = in_mode(JournalMode::ExchangeReport);
    let report = report_of(MAIL);
    assert_eq!(edge.client().mail(&report), "250 2.0.0 kept as 1 to 2\n");
    assert_eq!(edge.client().chunked_mail(&report, 100), "250 2.0.0 kept as 3 to 4\n");
    let pending = edge.pending();
    let bytes =
        |n: usize| bytes_of(&edge.runtime.block_on(edge.agent().buffer().rebuild(&pending[n])).unwrap());
    assert_eq!((bytes(0), bytes(1)), (report.clone(), MAIL.to_vec()));
    assert_eq!((pending[2].message, pending[3].message), (pending[0].message, pending[1].message));
    assert_eq!(pending[1].envelope.from, "alice@example.org");
    assert_eq!(pending[1].envelope.to, ["bob@example.org", "carol@example.org"]);
    assert_eq!(pending[0].envelope.to, ["to@example.com"]);
}

#[test]
fn what_is_no_report_is_taken_and_quarantined() {
    let edge = in_mode(JournalMode::ExchangeReport);
    assert_eq!(edge.client().mail(MAIL), "250 2.0.0 kept as 1\n");
    let (mail, bytes) = edge.only_mail();
    assert_eq!(bytes, MAIL);
    assert_eq!(mail.state, State::Quarantined { reason: Unfit::NotAReport.reason().to_owned() });
}

#[test]
fn the_envelope_of_the_header_is_the_mails() {
    let edge = in_mode(JournalMode::XEnvelopeTo);
    let mail = b"X-Envelope-To: <a@b.test>\r\nX-Envelope-To: <bcc@b.test>\r\nX-Envelope-From: <f@b.test>\r\n\r\nx\r\n";
    assert_eq!(edge.client().mail(mail), "250 2.0.0 kept as 1\n");
    let (kept, bytes) = edge.only_mail();
    assert_eq!((bytes.as_slice(), kept.envelope.from.as_str()), (mail.as_slice(), "f@b.test"));
    assert_eq!(kept.envelope.to, ["a@b.test", "bcc@b.test"]);
}

#[test]
fn over_lmtp_each_recipient_is_answered_and_the_mail_is_kept_once() {
    let edge = Edge::start(|config| {
        config.listeners[0].protocol = Protocol::Lmtp;
        config.listeners[0].peers = vec![peer("127.0.0.0/8", JournalMode::JrnPlus)];
    });
    let (mut client, greeting) = Client::connect(edge.address);
    assert_eq!(greeting, "220 edge.test LMTP OpenArchive\n");
    assert!(client.say("EHLO c.test\r\n").starts_with("500 5.5.1 "));
    assert!(client.say("LHLO c.test\r\n").starts_with("250-edge.test\n250-PIPELINING\n"));
    client.send(
        "MAIL FROM:<a@b.test>\r\nRCPT TO:<jrn+to=b.test@j.test>\r\nRCPT TO:<jrn+bcc=b.test@j.test>\r\nDATA\r\n",
    );
    for expected in ["250 2.1.0 ", "250 2.1.5 ", "250 2.1.5 ", "354 "] {
        assert!(client.reply().starts_with(expected));
    }
    client.send(stuffed(b".x\r\n"));
    assert_eq!(client.say(".\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(client.reply(), "250 2.0.0 kept as 1\n");
    assert_eq!(client.say("QUIT\r\n"), "221 2.0.0 bye\n");
    let (mail, bytes) = edge.only_mail();
    assert_eq!(bytes, b".x\r\n");
    assert_eq!(mail.envelope.to, ["to@b.test", "bcc@b.test"]);
}
