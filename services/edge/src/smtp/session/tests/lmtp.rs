//! RFC 2033.

use super::*;

fn ready() -> Play {
    let mut play = Play::speaking(Protocol::Lmtp, StartTls::Offered);
    play.send("LHLO client.test\r\n");
    play
}

const TWO: &str = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@f.test>\r\n";

#[test]
fn lmtp_says_what_it_is_and_wants_lhlo() {
    let mut play = Play::speaking(Protocol::Lmtp, StartTls::Offered);
    let mut out = Vec::new();
    play.session.greet(&mut out);
    assert_eq!(out, b"220 edge.test LMTP OpenArchive\r\n");
    for line in ["EHLO c.test\r\n", "HELO c.test\r\n"] {
        check(&mut play, line, "500 5.5.1 this is LMTP: say LHLO\n");
    }
    check(&mut play, "MAIL FROM:<>\r\n", "503 5.5.1 say LHLO first\n");
    let expected = "250-edge.test\n250-PIPELINING\n250-SIZE 1000\n250-STARTTLS\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-CHUNKING\n250-BINARYMIME\n250 SMTPUTF8\n";
    check(&mut play, "LHLO c.test\r\n", expected);
    check(&mut Play::ready(), "LHLO c.test\r\n", "500 5.5.1 command not known\n");
}

#[test]
fn each_recipient_gets_an_answer_of_its_own() {
    let mut play = ready();
    play.send(format!("{TWO}DATA\r\n"));
    let kept = "250 2.0.0 kept as 7\n";
    let shown = play.send("x\r\n.\r\nQUIT\r\n");
    assert!(shown.ends_with(&format!("{kept}{kept}221 2.0.0 bye\n[close]\n")), "{shown}");
    // The same recipient twice is two recipients.
    let mut play = ready();
    play.send("MAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n");
    assert!(play.send("x\r\n.\r\n").ends_with(&kept.repeat(2)));
}

#[test]
fn a_mail_that_is_refused_is_refused_to_each_recipient() {
    let refused = "552 5.3.4 the mail is larger than what is taken here\n".repeat(2);
    let mut play = ready();
    play.send(format!("{TWO}DATA\r\n"));
    assert!(play.send(format!("{}\r\n.\r\n", "x".repeat(1001))).ends_with(&format!("{refused}[discard]\n")));

    play.send(format!("{TWO}DATA\r\n"));
    play.room = Room::None;
    let full = "452 4.3.1 the buffer is full, try again later\n".repeat(2);
    assert!(play.send("x\r\n.\r\n").ends_with(&full));

    play.room = Room::Enough;
    play.send(format!("{TWO}DATA\r\n"));
    let bare = "550 5.6.11 bare LF in the mail; lines end with CRLF\n".repeat(2);
    check(&mut play, "x\n.\n", &format!("{bare}[close]\n"));
}

#[test]
fn without_a_recipient_data_is_out_of_order() {
    let mut play = ready();
    play.send("MAIL FROM:<>\r\n");
    check(&mut play, "DATA\r\n", "503 5.5.1 no valid recipients\n");
    check(&mut play, "BDAT 1 LAST\r\nx", "503 5.5.1 no valid recipients\n");
}

#[test]
fn the_last_chunk_is_answered_to_each_recipient_and_the_others_once() {
    let mut play = ready();
    play.send(TWO);
    check(&mut play, "BDAT 3\r\nabc", "250 2.0.0 3 octets received\n");
    let shown = play.send("BDAT 2 LAST\r\nde");
    assert!(shown.ends_with(&"250 2.0.0 kept as 7\n".repeat(2)) && shown.contains("\"abcde\""), "{shown}");
    play.send(TWO);
    let too_large = "552 5.3.4 the mail is larger than what is taken here\n";
    check(&mut play, format!("BDAT 1001\r\n{}", "x".repeat(1001)), too_large);
    play.send(TWO);
    check(&mut play, format!("BDAT 1001 LAST\r\n{}", "x".repeat(1001)), &too_large.repeat(2));
}
