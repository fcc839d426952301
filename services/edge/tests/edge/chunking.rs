//! BDAT over real sockets (RFC 3030).

use openarchive_domain::Digest;

use crate::{
    agent::Edge,
    client::{Client, noise},
};

#[test]
fn a_mail_in_chunks_is_kept_byte_for_byte_over_tls_and_in_clear() {
    let edge = Edge::start(|_| {});
    let content = b"Subject: binary\r\n\r\nbare\nLF, \r, \0, no line end, and\r\n.\r\nwithin".to_vec();
    let reply = edge.client().start_tls(edge.folder.path()).chunked_mail(&content, 7);
    assert_eq!(reply, "250 2.0.0 kept as 1\n");
    let (mail, bytes) = edge.only_mail();
    assert_eq!(bytes, content);
    assert_eq!(mail.flags, ["bare-cr", "nul"]);
}

#[test]
fn large_chunks_go_through_the_spool() {
    let edge = Edge::start(|_| {});
    let large = noise(3, 3_000_000);
    let mut client = edge.client();
    assert_eq!(client.chunked_mail(&large, 1_000_000), "250 2.0.0 kept as 1\n");
    assert_eq!(client.mail(b"and DATA behind it\r\n"), "250 2.0.0 kept as 2\n");
    assert_eq!(edge.pending()[0].message, Digest::of(&large));
}

#[test]
fn everything_in_one_write_is_answered_in_order() {
    let edge = Edge::start(|_| {});
    let (mut client, _) = Client::connect(edge.address);
    client.send(
        "EHLO c.test\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 4\r\none\nBDAT 3 LAST\r\ntwoMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 0 LAST\r\nQUIT\r\n",
    );
    let replies: Vec<String> = std::iter::from_fn(|| client.try_reply()).collect();
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "250", "250", "250", "250", "250", "221"], "{replies:?}");
    let kept: Vec<Digest> = edge.pending().iter().map(|mail| mail.message).collect();
    assert_eq!(kept, [Digest::of(b"one\ntwo"), Digest::of(b"")]);
}

#[test]
fn a_mail_whose_last_chunk_never_comes_is_not_kept() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\none");
    for _ in 0..3 {
        assert!(client.reply().starts_with("250 "));
    }
    drop(client);
    let mut client = edge.client();
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 300 LAST\r\nhalf of it");
    for _ in 0..2 {
        assert!(client.reply().starts_with("250 "));
    }
    drop(client);
    assert_eq!(edge.client().mail(b"another\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(edge.only_mail().1, b"another\r\n");
}

#[test]
fn a_mail_that_is_too_large_in_chunks_is_refused_and_the_session_goes_on() {
    let edge = Edge::start(|config| config.limits.message_bytes_max = 1_000_000);
    let mut client = edge.client();
    client.say("MAIL FROM:<a@b>\r\n");
    client.say("RCPT TO:<c@d>\r\n");
    client.send(format!("BDAT 1000000\r\n{}", "x".repeat(1_000_000)));
    assert_eq!(client.reply(), "250 2.0.0 1000000 octets received\n");
    assert_eq!(client.say("BDAT 1 LAST\r\nx"), "552 5.3.4 the mail is larger than what is taken here\n");
    assert_eq!(client.mail(b"small\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(edge.only_mail().1, b"small\r\n");
}
