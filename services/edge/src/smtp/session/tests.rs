use super::*;
use crate::smtp::limits::REFUSED_BYTES_MAX;

mod chunking;
mod lmtp;

/// Plays a session: what the client sends is answered by replies; events of the driver are shown in brackets.
struct Play {
    session: Session,
    room: Room,
    body: Vec<u8>,
}

impl Play {
    fn new(start_tls: StartTls) -> Self {
        Self::speaking(Protocol::Smtp, start_tls)
    }

    fn speaking(protocol: Protocol, start_tls: StartTls) -> Self {
        let rules = Rules { hostname: "edge.test".to_owned(), protocol, message_bytes_max: 1000, start_tls };
        Self { session: Session::new(Arc::new(rules)), room: Room::Enough, body: Vec::new() }
    }

    /// After EHLO.
    fn ready() -> Self {
        let mut play = Self::new(StartTls::Offered);
        play.send("EHLO client.test\r\n");
        play
    }

    fn send(&mut self, input: impl AsRef<[u8]>) -> String {
        let (mut input, mut shown) = (input.as_ref(), String::new());
        loop {
            let mut out = Vec::new();
            let mut room = || self.room;
            let (taken, step) = self.session.advance(input, &mut room, &mut out, &mut self.body);
            input = &input[taken..];
            shown.push_str(&String::from_utf8(out).unwrap().replace("\r\n", "\n"));
            match step {
                Step::Read => return shown,
                Step::Deliver(transaction) => {
                    let body = String::from_utf8_lossy(&std::mem::take(&mut self.body)).into_owned();
                    shown += &format!("[{:?} -> {:?}: {body:?}]\n", transaction.from, transaction.to);
                    let mut out = Vec::new();
                    let delivery = if self.room == Room::Enough {
                        Delivery::Kept { first: 7, last: 7 }
                    } else {
                        Delivery::NoRoom
                    };
                    self.session.delivered(delivery, &mut out);
                    shown.push_str(&String::from_utf8(out).unwrap().replace("\r\n", "\n"));
                }
                Step::Discard => {
                    self.body.clear();
                    shown += "[discard]\n";
                }
                Step::StartTls => {
                    shown += "[tls]\n";
                    self.session.encrypted();
                }
                Step::Close => return shown + "[close]\n",
            }
        }
    }
}

fn check(play: &mut Play, input: impl AsRef<[u8]>, expected: &str) {
    let shown = String::from_utf8_lossy(input.as_ref()).into_owned();
    assert_eq!(play.send(input), expected, "{shown:?}");
}

#[test]
fn a_mail_goes_through_in_one_pipelined_write() {
    let mut play = Play::ready();
    check(
        &mut play,
        "MAIL FROM:<a@b.test> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@f.test>\r\nDATA\r\n",
        "250 2.1.0 sender ok\n250 2.1.5 recipient ok\n250 2.1.5 recipient ok\n354 end with CRLF.CRLF\n",
    );
    check(
        &mut play,
        "Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
        "[\"a@b.test\" -> [\"c@d.test\", \"e@f.test\"]: \"Subject: x\\r\\n\\r\\n.dot\\r\\n\"]\n250 2.0.0 kept as 7\n221 2.0.0 bye\n[close]\n",
    );
}

#[test]
fn ehlo_announces_what_is_supported() {
    let mut play = Play::new(StartTls::Offered);
    let with_tls = "250-edge.test\n250-PIPELINING\n250-SIZE 1000\n250-STARTTLS\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-CHUNKING\n250-BINARYMIME\n250 SMTPUTF8\n";
    check(&mut play, "EHLO c.test\r\n", with_tls);
    check(&mut play, "STARTTLS\r\n", "220 2.0.0 ready to start TLS\n[tls]\n");
    check(&mut play, "MAIL FROM:<>\r\n", "503 5.5.1 say EHLO first\n");
    check(&mut play, "EHLO c.test\r\n", &with_tls.replace("250-STARTTLS\n", ""));
    check(&mut play, "STARTTLS\r\n", "503 5.5.1 TLS is already on\n");
    check(&mut play, "HELO c.test\r\n", "250 edge.test\n");
}

#[test]
fn commands_out_of_order_are_told_what_comes_first() {
    let mut play = Play::new(StartTls::Offered);
    check(&mut play, "MAIL FROM:<>\r\n", "503 5.5.1 say EHLO first\n");
    check(&mut play, "HELO c.test\r\n", "250 edge.test\n");
    check(&mut play, "RCPT TO:<a@b>\r\n", "503 5.5.1 say MAIL first\n");
    check(&mut play, "DATA\r\n", "503 5.5.1 say MAIL first\n");
    check(&mut play, "MAIL FROM:<>\r\n", "250 2.1.0 sender ok\n");
    check(&mut play, "MAIL FROM:<>\r\n", "503 5.5.1 a mail is already begun\n");
    check(&mut play, "DATA\r\n", "554 5.5.1 no valid recipients\n");
    check(&mut play, "RSET\r\n", "250 2.0.0 ok\n");
    check(&mut play, "RCPT TO:<a@b>\r\n", "503 5.5.1 say MAIL first\n");
    check(
        &mut play,
        "VRFY a\r\nNOOP\r\nHELP\r\n",
        "252 2.5.0 every recipient is archived\n250 2.0.0 ok\n502 5.5.1 command not implemented\n",
    );
}

#[test]
fn without_the_tls_it_requires_a_listener_takes_nothing() {
    let mut play = Play::new(StartTls::Required);
    play.send("EHLO c.test\r\n");
    let refused = "530 5.7.0 must issue a STARTTLS command first\n";
    for line in
        ["MAIL FROM:<>\r\n", "RCPT TO:<a@b>\r\n", "DATA\r\n", "RSET\r\n", "VRFY x\r\n", "HELO c.test\r\n"]
    {
        check(&mut play, line, refused);
    }
    check(&mut play, "NOOP\r\nSTARTTLS\r\n", "250 2.0.0 ok\n220 2.0.0 ready to start TLS\n[tls]\n");
    play.send("EHLO c.test\r\n");
    check(&mut play, "MAIL FROM:<>\r\n", "250 2.1.0 sender ok\n");
}

#[test]
fn what_follows_starttls_in_clear_closes_the_connection() {
    let mut play = Play::ready();
    check(
        &mut play,
        "STARTTLS\r\nMAIL FROM:<evil@x.test>\r\n",
        "554 5.5.1 nothing may follow STARTTLS before the handshake\n[close]\n",
    );
    check(&mut play, "NOOP\r\n", "[close]\n");
}

#[test]
fn a_bare_lf_in_the_mail_or_in_a_command_closes_the_connection() {
    let smuggled = "x\n.\nMAIL FROM:<evil@x.test>\r\n";
    for body in [smuggled, "x\r\n.\nRSET\r\n", "x\n.\r\nRSET\r\n"] {
        let mut play = Play::ready();
        play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
        check(&mut play, body, "550 5.6.11 bare LF in the mail; lines end with CRLF\n[close]\n");
    }
    check(
        &mut Play::ready(),
        "NOOP\n",
        "500 5.5.2 lines end with CRLF and hold no NUL or bare CR\n[close]\n",
    );
}

#[test]
fn a_refused_data_with_content_behind_it_closes_the_connection() {
    check(&mut Play::ready(), "DATA\r\nMAIL FROM:<evil@x.test>\r\n", "503 5.5.1 say MAIL first\n[close]\n");
}

#[test]
fn bare_cr_and_nul_are_content() {
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    check(
        &mut play,
        "a\r.\rb\0\r\n.\r\n",
        "[\"\" -> [\"a@b\"]: \"a\\r.\\rb\\0\\r\\n\"]\n250 2.0.0 kept as 7\n",
    );
}

#[test]
fn a_line_of_the_limit_is_read_and_a_longer_one_is_refused() {
    let line = |bytes: usize| format!("NOOP {}\r\n", "x".repeat(bytes - "NOOP \r\n".len()));
    for piece_bytes in [1, 700, 5000] {
        let mut play = Play::ready();
        let mut shown = String::new();
        for bytes in [COMMAND_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX + 1, 4 * COMMAND_LINE_BYTES_MAX] {
            // Like the driver, keep what was not taken.
            let mut input = Vec::new();
            for piece in line(bytes).as_bytes().chunks(piece_bytes) {
                input.extend_from_slice(piece);
                let mut out = Vec::new();
                let (taken, step) =
                    play.session.advance(&input, &mut || Room::Enough, &mut out, &mut Vec::new());
                assert_eq!(step, Step::Read);
                input.drain(..taken);
                shown.push_str(std::str::from_utf8(&out).unwrap());
            }
            assert_eq!(input, b"");
        }
        assert_eq!(shown, "250 2.0.0 ok\r\n500 5.5.2 line too long\r\n500 5.5.2 line too long\r\n");
    }
}

#[test]
fn the_size_limit_holds_for_what_is_declared_and_for_what_comes() {
    let mut play = Play::ready();
    check(&mut play, "MAIL FROM:<> SIZE=1001\r\n", "552 5.3.4 the mail is larger than what is taken here\n");
    for (bytes, taken) in [(1000, true), (1001, false), (5000, false)] {
        play.send("MAIL FROM:<> SIZE=1000\r\nRCPT TO:<a@b>\r\nDATA\r\n");
        let shown = play.send(format!("{}\r\n.\r\nNOOP\r\n", "x".repeat(bytes - 2)));
        assert_eq!(shown.contains("250 2.0.0 kept as 7\n250 2.0.0 ok\n"), taken, "{bytes}: {shown}");
        let refused = "552 5.3.4 the mail is larger than what is taken here\n[discard]\n250 2.0.0 ok\n";
        assert_eq!(shown.ends_with(refused), !taken, "{bytes}: {shown}");
        assert_eq!(play.body, b"");
    }
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    assert_eq!(play.send("x".repeat(1001)), "[discard]\n");
    assert_eq!(play.send("x".repeat(1001)), "");
    assert_eq!(play.body, b"", "nothing of a refused mail is kept");
    check(&mut play, "\r\n.\r\n", "552 5.3.4 the mail is larger than what is taken here\n[discard]\n");
}

#[test]
fn a_full_buffer_is_said_at_mail_and_again_at_the_end_of_data() {
    let mut play = Play::ready();
    play.room = Room::None;
    let full = "452 4.3.1 the buffer is full, try again later\n";
    for _ in 0..2 * ERRORS_MAX {
        check(&mut play, "MAIL FROM:<>\r\n", full);
    }
    play.room = Room::Enough;
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    play.room = Room::None;
    assert!(play.send("x\r\n.\r\n").ends_with(full));
    play.room = Room::Enough;
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    assert!(play.send("x\r\n.\r\n").ends_with("250 2.0.0 kept as 7\n"));
}

#[test]
fn a_peer_that_sends_too_fast_is_told_so_at_mail_and_it_is_no_error() {
    let mut play = Play::ready();
    play.room = Room::NotNow;
    for _ in 0..2 * ERRORS_MAX {
        check(&mut play, "MAIL FROM:<>\r\n", "450 4.7.1 too many mails in a minute, try again later\n");
    }
    play.room = Room::Enough;
    check(&mut play, "MAIL FROM:<>\r\n", "250 2.1.0 sender ok\n");
}

#[test]
fn a_body_that_cannot_be_spooled_is_read_to_its_end_and_refused() {
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    play.send("one\r\n");
    play.session.refuse_body();
    play.body.clear();
    check(&mut play, "two\r\n", "");
    check(
        &mut play,
        ".\r\nNOOP\r\n",
        "452 4.3.1 the buffer is full, try again later\n[discard]\n250 2.0.0 ok\n",
    );
}

#[test]
fn a_thousand_recipients_are_taken_and_the_rest_is_asked_for_later() {
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\n");
    for n in 0..RECIPIENTS_MAX {
        check(&mut play, format!("RCPT TO:<r{n}@b.test>\r\n"), "250 2.1.5 recipient ok\n");
    }
    for _ in 0..2 * ERRORS_MAX {
        check(
            &mut play,
            "RCPT TO:<more@b.test>\r\n",
            "452 4.5.3 too many recipients, send the rest separately\n",
        );
    }
    play.send("DATA\r\n");
    let shown = play.send("x\r\n.\r\n");
    assert!(shown.contains("r999@b.test") && !shown.contains("more@b.test"));
}

#[test]
fn addresses_beyond_ascii_are_taken_and_what_is_not_utf8_is_refused() {
    let mut play = Play::ready();
    check(&mut play, "MAIL FROM:<grüße@bücher.test> SMTPUTF8\r\n", "250 2.1.0 sender ok\n");
    check(&mut play, "RCPT TO:<jürgen@b.test>\r\n", "250 2.1.5 recipient ok\n");
    check(
        &mut play,
        b"RCPT TO:<j\xfcrgen@b.test>\r\n",
        "553 5.1.3 the recipient's address is not valid UTF-8\n",
    );
    check(&mut play, "RSET\r\n", "250 2.0.0 ok\n");
    check(
        &mut play,
        b"MAIL FROM:<j\xfcrgen@b.test>\r\n",
        "553 5.1.7 the sender's address is not valid UTF-8\n",
    );
}

#[test]
fn too_many_errors_end_the_session() {
    let mut play = Play::ready();
    for _ in 1..ERRORS_MAX {
        check(&mut play, "WHAT\r\n", "500 5.5.1 command not known\n");
    }
    check(&mut play, "WHAT\r\n", "500 5.5.1 command not known\n421 4.7.0 too many errors\n[close]\n");
}

#[test]
fn an_empty_mail_is_a_mail() {
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    check(&mut play, ".\r\n", "[\"\" -> [\"a@b\"]: \"\"]\n250 2.0.0 kept as 7\n");
}

#[test]
fn a_mail_that_goes_on_and_on_is_cut_off() {
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    let piece = "x".repeat(1024 * 1024);
    let pieces = REFUSED_BYTES_MAX / piece.len() as u64;
    assert_eq!(play.send(&piece), "[discard]\n");
    for _ in 1..pieces {
        check(&mut play, &piece, "");
    }
    check(&mut play, &piece, "552 5.3.4 the mail is larger than what is taken here\n[close]\n");
}

proptest::proptest! {
    #[test]
    fn any_input_in_any_pieces_is_answered_and_taken(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "EHLO x\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", ".\r\n", "STARTTLS\r\n", "RSET\r\n",
            "text\r\n", "\r", "\n", ".", "\0", "QUIT\r\n", "NOOP\r\n", "BDAT 1\r\n", "BDAT 3 LAST\r\n", "LHLO x\r\n", "x",
        ]), 0..40),
        piece_bytes in 1usize..40,
        lmtp: bool,
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let mut play = Play::speaking(protocol, StartTls::Offered);
        for piece in words.concat().as_bytes().chunks(piece_bytes) {
            // Like a driver that does not keep what was not taken: worse than any real one.
            play.send(piece);
        }
    }
}
