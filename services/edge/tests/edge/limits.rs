//! Both sides of each limit, over real sockets.

use std::time::{Duration, Instant};

use openarchive_domain::Digest;
use openarchive_edge::smtp::limits::{COMMAND_LINE_BYTES_MAX, RECIPIENTS_MAX};

use crate::{
    agent::Edge,
    client::{Client, noise},
};

#[test]
fn at_the_mark_the_answer_is_452_and_after_draining_250() {
    let edge = Edge::start(|config| config.high_water_bytes = 20_000);
    let (mut first, mut second) = (edge.client(), edge.client());
    second.begin_mail();
    assert_eq!(first.mail(&noise(1, 30_000)), "250 2.0.0 kept as 1\n");
    let full = "452 4.3.1 the buffer is full, try again later\n";
    assert_eq!(first.say("MAIL FROM:<a@b>\r\n"), full);
    assert_eq!(second.say("begun before it was full\r\n.\r\n"), full);
    edge.drain();
    assert_eq!(first.mail(b"x\r\n"), "250 2.0.0 kept as 2\n");
    assert_eq!(second.mail(b"y\r\n"), "250 2.0.0 kept as 3\n");
}

#[test]
fn the_largest_mail_is_taken_and_one_byte_more_is_not() {
    let max = 3_000_000;
    let edge = Edge::start(|config| config.limits.message_bytes_max = max as u64);
    let mut client = edge.client();
    let refused = "552 5.3.4 the mail is larger than what is taken here\n";
    assert_eq!(client.say("MAIL FROM:<a@b> SIZE=3000001\r\n"), refused);
    assert!(client.say("MAIL FROM:<a@b> SIZE=3000000\r\n").starts_with("250"));
    client.say("RSET\r\n");
    let largest = noise(2, max);
    assert_eq!(client.mail(&noise(1, max + 1)), refused);
    assert_eq!(client.mail(&largest), "250 2.0.0 kept as 1\n");
    assert_eq!(edge.only_mail().0.message, Digest::of(&largest));
}

#[test]
fn a_thousand_recipients_are_kept_and_the_next_is_asked_for_later() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    client.say("MAIL FROM:<a@b>\r\n");
    for n in 0..RECIPIENTS_MAX {
        client.send(format!("RCPT TO:<r{n}@b.test>\r\n"));
    }
    for _ in 0..RECIPIENTS_MAX {
        assert!(client.reply().starts_with("250 2.1.5 "));
    }
    assert!(client.say("RCPT TO:<more@b.test>\r\n").starts_with("452 4.5.3 "));
    client.say("DATA\r\n");
    assert_eq!(client.say("x\r\n.\r\n"), "250 2.0.0 kept as 1\n");
    let (mail, _) = edge.only_mail();
    assert_eq!((mail.envelope.to.len(), mail.envelope.to[999].as_str()), (RECIPIENTS_MAX, "r999@b.test"));
}

#[test]
fn an_over_long_command_line_is_refused_and_the_next_one_obeyed() {
    let edge = Edge::start(|_| {});
    let mut client = edge.client();
    let line = |bytes: usize| format!("NOOP {}\r\n", "x".repeat(bytes - "NOOP \r\n".len()));
    assert_eq!(client.say(line(COMMAND_LINE_BYTES_MAX)), "250 2.0.0 ok\n");
    for bytes in [COMMAND_LINE_BYTES_MAX + 1, 1_000_000] {
        assert_eq!(client.say(line(bytes)), "500 5.5.2 line too long\n");
        assert_eq!(client.say("NOOP\r\n"), "250 2.0.0 ok\n");
    }
    // Lines within a mail have no limit: they are content.
    assert_eq!(client.mail(format!("{}\r\n", "x".repeat(1_000_000)).as_bytes()), "250 2.0.0 kept as 1\n");
}

#[test]
fn one_session_too_many_is_told_to_come_back() {
    let edge = Edge::start(|config| config.limits.connections_max = 2);
    let mut held = [edge.client(), edge.client()];
    let (mut third, greeting) = Client::connect(edge.address);
    assert_eq!(greeting, "421 4.3.2 too many connections, try again later\n");
    assert!(third.is_closed());
    assert_eq!(held[0].say("QUIT\r\n"), "221 2.0.0 bye\n");
    assert!(held[0].is_closed());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !Client::connect(edge.address).1.starts_with("220") {
        assert!(Instant::now() < deadline, "a place that became free is not given out");
    }
}

#[test]
fn a_peer_has_its_own_number_of_sessions_and_the_listener_one_for_all() {
    let edge = Edge::start(|config| config.listeners[0].peers[0].limits.connections_max = 2);
    let mut held = [edge.client(), edge.client()];
    let (mut third, greeting) = Client::connect(edge.address);
    assert_eq!(greeting, "421 4.7.0 too many connections from this peer, try again later\n");
    assert!(third.is_closed());
    assert_eq!(held[0].mail(b"x\r\n"), "250 2.0.0 kept as 1\n", "who has a session keeps it");
    assert_eq!(held[0].say("QUIT\r\n"), "221 2.0.0 bye\n");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !Client::connect(edge.address).1.starts_with("220") {
        assert!(Instant::now() < deadline, "a place that became free is not given out");
    }
}

#[test]
fn a_peer_that_connects_too_often_waits() {
    let edge = Edge::start(|config| config.listeners[0].peers[0].limits.connections_per_minute = Some(3));
    for _ in 0..3 {
        assert!(Client::connect(edge.address).1.starts_with("220 "));
    }
    let (mut fourth, greeting) = Client::connect(edge.address);
    assert_eq!(greeting, "421 4.7.0 too many connections in a minute, try again later\n");
    assert!(fourth.is_closed());
}

#[test]
fn a_peer_that_mails_too_fast_waits_and_other_listeners_do_not() {
    let edge = Edge::start(|config| {
        config.listeners.push(openarchive_edge::config::ListenerConfig {
            name: "other".to_owned(),
            ..config.listeners[0].clone()
        });
        config.listeners[0].peers[0].limits.mails_per_minute = Some(3);
    });
    let (mut first, mut second) = (edge.client(), edge.client());
    assert_eq!(first.mail(b"1\r\n"), "250 2.0.0 kept as 1\n");
    assert_eq!(second.mail(b"2\r\n"), "250 2.0.0 kept as 2\n");
    assert_eq!(first.mail(b"3\r\n"), "250 2.0.0 kept as 3\n");
    let too_fast = "450 4.7.1 too many mails in a minute, try again later\n";
    assert_eq!(first.say("MAIL FROM:<a@b>\r\n"), too_fast);
    assert_eq!(second.say("MAIL FROM:<a@b>\r\n"), too_fast, "the peer's sessions share the number");
    assert_eq!(first.say("NOOP\r\n"), "250 2.0.0 ok\n", "the session goes on");
    let mut other = Client::ready(edge.agent().listening()[1].address);
    assert_eq!(other.mail(b"4\r\n"), "250 2.0.0 kept as 4\n");
}

#[test]
fn a_client_that_dribbles_is_sent_away_in_time() {
    let edge = Edge::start(|config| {
        config.limits.command_timeout = Duration::from_secs(1);
        config.limits.body_timeout = Duration::from_secs(1);
    });
    for begun in ["a command", "DATA", "a chunk"] {
        let mut client = edge.client();
        match begun {
            "DATA" => client.begin_mail(),
            "a chunk" => {
                client.say("MAIL FROM:<a@b>\r\n");
                client.say("RCPT TO:<c@d>\r\n");
                client.send("BDAT 1000000 LAST\r\n");
            }
            _ => {}
        }
        let started = Instant::now();
        let address = edge.address;
        let reply = std::thread::scope(|scope| {
            let mut writer = client.writer();
            // One byte at a time, much faster than the timeout: it is the whole that counts.
            scope.spawn(move || {
                while started.elapsed() < Duration::from_secs(20) && writer.write_byte(b'x') {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            });
            client.reply()
        });
        assert_eq!(reply, "421 4.4.2 waited too long\n", "in {begun}, {address}");
        let elapsed = started.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&elapsed), "{elapsed:?}");
    }
    assert_eq!(edge.pending(), []);
}
