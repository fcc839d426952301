//! RFC 3030.

use super::*;

const BEGUN: &str = "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n";
const TOO_LARGE: &str = "552 5.3.4 the mail is larger than what is taken here\n";
const MAIL_FIRST: &str = "503 5.5.1 say MAIL first\n";

fn begun() -> Play {
    let mut play = Play::ready();
    play.send(BEGUN);
    play
}

#[test]
fn octets_are_taken_as_they_are_in_any_number_of_chunks() {
    let mut play = begun();
    check(&mut play, "BDAT 6\r\n\r\n.\r\n\n", "250 2.0.0 6 octets received\n");
    check(&mut play, "BDAT 0\r\n", "250 2.0.0 0 octets received\n");
    check(
        &mut play,
        "BDAT 5 LAST\r\n.\0\r.xNOOP\r\n",
        "[\"\" -> [\"a@b\"]: \"\\r\\n.\\r\\n\\n.\\0\\r.x\"]\n250 2.0.0 kept as 7\n250 2.0.0 ok\n",
    );
    play.send(BEGUN);
    check(&mut play, "BDAT 1\r\nx", "250 2.0.0 1 octets received\n");
    check(&mut play, "BDAT 0 LAST\r\n", "[\"\" -> [\"a@b\"]: \"x\"]\n250 2.0.0 kept as 7\n");
    play.send(BEGUN);
    check(&mut play, "BDAT 0 LAST\r\n", "[\"\" -> [\"a@b\"]: \"\"]\n250 2.0.0 kept as 7\n");
}

#[test]
fn a_whole_mail_and_the_next_are_pipelined() {
    let mut play = Play::ready();
    let one = "[\"\" -> [\"a@b\"]: \"onetwo\"]\n250 2.0.0 kept as 7\n";
    let begun = "250 2.1.0 sender ok\n250 2.1.5 recipient ok\n";
    check(
        &mut play,
        format!("{BEGUN}BDAT 3\r\noneBDAT 3 LAST\r\ntwo{BEGUN}BDAT 6 LAST\r\nonetwoQUIT\r\n"),
        &format!("{begun}250 2.0.0 3 octets received\n{one}{begun}{one}221 2.0.0 bye\n[close]\n"),
    );
}

#[test]
fn the_octets_of_a_refused_chunk_are_never_commands() {
    let octets = "RSET\r\nMAIL FROM:<evil@x.test>\r\n";
    let bdat = format!("BDAT {}\r\n{octets}", octets.len());
    check(&mut Play::ready(), &bdat, MAIL_FIRST);
    check(&mut Play::new(StartTls::Offered), &bdat, MAIL_FIRST);
    let tls_first = "530 5.7.0 must issue a STARTTLS command first\n";
    check(&mut Play::new(StartTls::Required), &bdat, tls_first);
    let mut play = Play::ready();
    play.send("MAIL FROM:<>\r\n");
    check(&mut play, &bdat, "554 5.5.1 no valid recipients\n");
    check(&mut play, &bdat, MAIL_FIRST);
    let mut greeted = Play::new(StartTls::Offered);
    greeted.send(&bdat);
    check(&mut greeted, "MAIL FROM:<>\r\n", "503 5.5.1 say EHLO first\n");
}

#[test]
fn a_chunk_whose_length_nobody_knows_ends_the_session() {
    for broken in ["BDAT\r\n", "BDAT x LAST\r\n", "BDAT 5 FIRST\r\n", "BDAT 99999999999999999999 LAST\r\n"] {
        check(&mut begun(), format!("{broken}RSET\r\n"), "501 5.5.4 syntax: BDAT octets [LAST]\n[close]\n");
    }
}

#[test]
fn the_size_limit_holds_for_all_chunks_together() {
    let mut play = begun();
    check(&mut play, format!("BDAT 999\r\n{}", "x".repeat(999)), "250 2.0.0 999 octets received\n");
    let shown = play.send("BDAT 1 LAST\r\nx");
    assert!(shown.ends_with("250 2.0.0 kept as 7\n"), "{shown}");

    play.send(BEGUN);
    play.send(format!("BDAT 999\r\n{}", "x".repeat(999)));
    // The rest of it is on its way already.
    check(&mut play, "BDAT 2\r\nxxBDAT 3 LAST\r\nyyy", &format!("[discard]\n{TOO_LARGE}{MAIL_FIRST}"));
    assert_eq!(play.body, b"", "nothing of a refused mail is kept");
    play.send(format!("{BEGUN}BDAT 1\r\nz"));
    assert!(play.send("BDAT 0 LAST\r\n").contains("\"z\""));
}

#[test]
fn a_refused_chunk_is_read_over_up_to_a_limit_and_ends_the_session_beyond() {
    check(&mut begun(), format!("BDAT {REFUSED_BYTES_MAX}\r\n"), "");
    let over = format!("BDAT {}\r\n", REFUSED_BYTES_MAX + 1);
    check(&mut begun(), &over, &format!("{TOO_LARGE}[close]\n"));
    check(&mut Play::ready(), &over, &format!("{MAIL_FIRST}[close]\n"));
    check(&mut begun(), format!("BDAT {}\r\n", u64::MAX), &format!("{TOO_LARGE}[close]\n"));
}

#[test]
fn a_mail_is_sent_by_data_or_by_bdat() {
    let mut play = begun();
    play.send("BDAT 1\r\nx");
    check(&mut play, "DATA\r\n", "503 5.5.1 no DATA in a mail that is sent with BDAT\n[discard]\n");
    check(&mut play, "BDAT 1 LAST\r\ny", MAIL_FIRST);
    assert_eq!(play.body, b"");
    let mut play = begun();
    play.send("BDAT 1\r\nx");
    let refused = "503 5.5.1 no DATA in a mail that is sent with BDAT\n[close]\n";
    check(&mut play, "DATA\r\nRSET\r\n", refused);
    let mut play = Play::ready();
    play.send("MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\n");
    check(&mut play, "DATA\r\n", "503 5.5.1 BINARYMIME is sent with BDAT\n");
    assert!(play.send("BDAT 2 LAST\r\n\0\n").ends_with("250 2.0.0 kept as 7\n"));
}

#[test]
fn between_chunks_only_what_does_not_change_the_mail_is_taken() {
    let mut play = begun();
    play.send("BDAT 1\r\nx");
    let between = "503 5.5.1 not between the chunks of a mail\n";
    check(&mut play, "RCPT TO:<c@d>\r\n", between);
    check(&mut play, "STARTTLS\r\n", between);
    check(&mut play, "MAIL FROM:<>\r\n", "503 5.5.1 a mail is already begun\n");
    check(&mut play, "NOOP\r\n", "250 2.0.0 ok\n");
    assert!(play.send("BDAT 1 LAST\r\ny").contains("[\"\" -> [\"a@b\"]: \"xy\"]"));
}

#[test]
fn what_came_of_a_mail_is_forgotten_with_it() {
    for (line, reply) in [("RSET\r\n", "250 2.0.0 ok\n"), ("HELO c.test\r\n", "250 edge.test\n")] {
        let mut play = begun();
        play.send("BDAT 1\r\nx");
        check(&mut play, line, &format!("{reply}[discard]\n"));
        assert_eq!(play.body, b"");
    }
    let mut play = begun();
    play.send("BDAT 1\r\nx");
    assert!(play.send("EHLO c.test\r\n").ends_with("[discard]\n"));
    play.send(BEGUN);
    assert!(play.send("BDAT 1 LAST\r\ny").contains(": \"y\"]"));
}

#[test]
fn a_mail_of_which_a_chunk_was_lost_is_not_kept() {
    let full = "452 4.3.1 the buffer is full, try again later\n";
    // The disk fails behind a chunk that was answered already, or within one.
    for within in [false, true] {
        let mut play = begun();
        play.send("BDAT 3\r\nabc");
        if within {
            play.send("BDAT 3\r\nd");
        }
        play.session.refuse_body();
        play.body.clear();
        if within {
            check(&mut play, "ef", full);
            check(&mut play, "BDAT 1 LAST\r\ng", MAIL_FIRST);
        } else {
            check(&mut play, "BDAT 1 LAST\r\ng", &format!("[discard]\n{full}"));
        }
        assert_eq!(play.body, b"");
    }
}

#[test]
fn a_slow_client_owes_whole_chunks() {
    let mut play = begun();
    let taken = play.session.units_taken();
    play.send("BDAT 3\r\nab");
    assert_eq!((play.session.units_taken(), play.session.body_bytes()), (taken + 1, Some(2)));
    assert!(play.session.is_receiving() && play.session.has_mail_coming());
    play.send("c");
    assert_eq!((play.session.units_taken(), play.session.body_bytes()), (taken + 2, None));
    assert!(!play.session.is_receiving() && play.session.has_mail_coming());
}

proptest::proptest! {
    #[test]
    fn any_octets_in_any_chunks_and_pieces_come_out_unchanged(
        chunks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 1..6),
        piece_bytes in 1usize..50,
    ) {
        let mut play = begun();
        let mut sent = Vec::new();
        for (n, chunk) in chunks.iter().enumerate() {
            let last = if n + 1 == chunks.len() { " LAST" } else { "" };
            sent.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
            sent.extend_from_slice(chunk);
        }
        let (mut input, mut body, mut delivered) = (Vec::new(), Vec::new(), None);
        for piece in sent.chunks(piece_bytes) {
            // Like the driver, keep what was not taken.
            input.extend_from_slice(piece);
            loop {
                let (taken, step) =
                    play.session.advance(&input, &mut || Room::Enough, &mut Vec::new(), &mut body);
                input.drain(..taken);
                match step {
                    Step::Read => break,
                    Step::Deliver(_) => {
                        delivered = Some(std::mem::take(&mut body));
                        play.session.delivered(Delivery::Kept { first: 7, last: 7 }, &mut Vec::new());
                    }
                    step => panic!("{step:?}"),
                }
            }
        }
        proptest::prop_assert_eq!(delivered, Some(chunks.concat()));
    }
}
