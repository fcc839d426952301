//! Mail as it is met: sound, odd and broken.

use super::*;

fn attachment(content: &[u8]) -> String {
    base64_text(content, 76, "\r\n") + "\r\n"
}

fn lines(lines: &[&str]) -> Vec<u8> {
    let mut message = lines.join("\r\n").into_bytes();
    message.extend_from_slice(b"\r\n");
    message
}

#[test]
fn an_ordinary_mail_is_verbatim_but_for_its_attachment() {
    let content = content(3000, 1);
    let message = with_attachment(&attachment(&content));
    let (split, parts) = split(&message);
    let [Segment::Verbatim(before), Segment::Part(part), Segment::Verbatim(after)] =
        split.skeleton.segments()
    else {
        panic!("{:?}", split.skeleton)
    };
    assert!(before.ends_with(b"base64\r\n\r\n"));
    assert_eq!(after, b"--b1--\r\nepilogue\r\n");
    assert_eq!(parts[&part.digest], content);
    assert_eq!(split.flags, Flags::default());
}

#[test]
fn text_after_the_last_boundary_is_verbatim_even_if_it_looks_like_parts() {
    let content = content(3000, 2);
    let body = attachment(&content);
    let mut message = with_attachment(&body);
    message.extend_from_slice(b"--b1\r\nContent-Type: application/pdf\r\n\r\n");
    message.extend_from_slice(&vec![b'x'; 5000]);
    assert_eq!(contents(&message), [content]);
}

#[test]
fn a_boundary_in_mid_line_is_none() {
    let text = format!("{} --b1\r\n --b1\r\nx--b1--\r\n--b1x\r\n--b\r\n", "x".repeat(2000));
    let message = String::from_utf8(with_attachment(&text)).unwrap().replace("base64", "7bit");
    assert_eq!(contents(message.as_bytes()), [text.strip_suffix("\r\n").unwrap().as_bytes()]);
}

#[test]
fn a_boundary_deep_in_a_long_line_is_none() {
    let piece = crate::split::lines::PIECE_BYTES_MAX;
    let text = format!("{}--b1\r\n", "x".repeat(piece));
    let message = String::from_utf8(with_attachment(&text)).unwrap().replace("base64", "7bit");
    assert_eq!(contents(message.as_bytes()).len(), 1);
    assert_eq!(contents(message.as_bytes())[0].len(), piece + 4);
}

#[test]
fn an_unterminated_multipart_gives_its_last_part() {
    let content = content(3000, 3);
    let message = with_attachment(&attachment(&content));
    let cut = message.windows(4).rposition(|window| window == b"--b1").unwrap();
    for cut in [cut, cut - 1, cut - 2, cut + 1, cut + 4] {
        assert!(contents(&message[..cut]) == std::slice::from_ref(&content), "{cut}");
    }
}

#[test]
fn an_outer_boundary_ends_inner_parts_that_were_never_closed() {
    let (first, second) = (content(2000, 4), content(2000, 5));
    let message = lines(&[
        "Content-Type: multipart/mixed; boundary=outer",
        "",
        "--outer",
        "Content-Type: multipart/related; boundary=inner",
        "",
        "--inner",
        "Content-Type: image/png",
        "Content-Transfer-Encoding: base64",
        "",
        &attachment(&first),
        "--outer",
        "Content-Type: image/png",
        "Content-Transfer-Encoding: base64",
        "",
        &attachment(&second),
        "--inner",
        "--outer--",
    ]);
    assert!(contents(&message) == [first, second]);
}

#[test]
fn messages_in_messages_are_descended_into() {
    let content = content(2000, 6);
    let innermost = with_attachment(&attachment(&content));
    let mut message = innermost;
    for level in 0..5 {
        let inner = String::from_utf8(message).unwrap();
        let header =
            "Content-Type: message/rfc822; name=\"forwarded.eml\"\r\nContent-Disposition: attachment";
        message = lines(&[
            &format!("Content-Type: multipart/mixed; boundary=level{level}"),
            "",
            &format!("--level{level}"),
            header,
            "",
            &inner,
            &format!("--level{level}--"),
        ]);
    }
    assert!(contents(&message) == [content]);
}

#[test]
fn the_members_of_a_digest_are_messages() {
    let content = content(2000, 7);
    let inner = String::from_utf8(with_attachment(&attachment(&content))).unwrap();
    let message = lines(&[
        "Content-Type: multipart/digest; boundary=d",
        "",
        "--d",
        "",
        &inner,
        "--d",
        "",
        &inner,
        "--d--",
    ]);
    assert!(contents(&message) == [content.clone(), content]);
}

#[test]
fn signed_encrypted_and_special_mail_gives_its_binary_parts() {
    let content = content(4000, 8);
    let body = attachment(&content);
    let armored = format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{body}=abcd\r\n-----END PGP MESSAGE-----");
    let smime_signed = lines(&[
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s",
        "",
        "--s",
        "Content-Type: text/plain",
        "",
        "signed text ",
        "--s",
        "Content-Type: application/pkcs7-signature; name=smime.p7s",
        "Content-Transfer-Encoding: base64",
        "",
        &body,
        "--s--",
    ]);
    assert!(contents(&smime_signed) == std::slice::from_ref(&content));

    let smime_encrypted = lines(&[
        "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
        "Content-Transfer-Encoding: base64",
        "",
        &body,
    ]);
    assert!(contents(&smime_encrypted) == std::slice::from_ref(&content));

    let pgp_encrypted = lines(&[
        "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=p",
        "",
        "--p",
        "Content-Type: application/pgp-encrypted",
        "",
        "Version: 1",
        "",
        "--p",
        "Content-Type: application/octet-stream; name=encrypted.asc",
        "",
        &armored,
        "--p--",
    ]);
    assert!(contents(&pgp_encrypted) == [armored.as_bytes()]);

    let tnef = lines(&[
        "Content-Type: application/ms-tnef; name=winmail.dat",
        "Content-Transfer-Encoding: base64",
        "",
        &body,
    ]);
    assert!(contents(&tnef) == std::slice::from_ref(&content));
}

#[test]
fn calendar_invitations_and_bounces_keep_their_shape() {
    let event = "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".repeat(100);
    let invitation = |parameters: &str| {
        lines(&[
            "Content-Type: multipart/alternative; boundary=c",
            "",
            "--c",
            "",
            "You are invited.",
            "--c",
            &format!("Content-Type: text/calendar; method=REQUEST{parameters}"),
            "",
            &event,
            "--c--",
        ])
    };
    assert_eq!(contents(&invitation("")).len(), 0);
    assert!(contents(&invitation("; name=invite.ics")) == [event.as_bytes()]);

    let original = content(2000, 9);
    let bounce = lines(&[
        "From: MAILER-DAEMON@example.org",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=r",
        "",
        "--r",
        "",
        "It could not be delivered.",
        "--r",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mx.example.org",
        "",
        "Final-Recipient: rfc822; a@example.org",
        "Status: 5.1.1",
        "",
        "--r",
        "Content-Type: message/rfc822",
        "",
        &String::from_utf8(with_attachment(&attachment(&original))).unwrap(),
        "--r--",
    ]);
    assert!(contents(&bounce) == [original]);
}

#[test]
fn nul_bare_cr_and_raw_8_bit_headers_are_content_and_the_first_two_are_flagged() {
    let check = |message: &[u8], expected: &[&str]| {
        assert_eq!(split(message).0.flags.names(), expected, "{}", message.escape_ascii());
    };
    check(b"Subject: \xe4\xf6\xfc \xff\xfe\r\n\r\ntext\r\n", &[]);
    check(b"Subject: a\0b\r\n\r\ntext\r\n", &["nul"]);
    check(b"Subject: a\rb\r\n\r\ntext\r\n", &["bare-cr"]);
    check(b"Subject: a\r\n\r\ntext\r", &["bare-cr"]);
    check(b"Subject: a\r\n\r\ntext\r\r\n\0", &["bare-cr", "nul"]);
    check(b"Subject: a\n\ntext\n", &[]);
    let in_base64 = with_attachment(&(base64_text(&content(3000, 10), 76, "\r\n") + "\0\r \r\n"));
    check(&in_base64, &["bare-cr", "nul"]);
    let in_identity = [b"Content-Type: application/x\r\n\r\n".as_slice(), &[b'\0'; 2000]].concat();
    check(&in_identity, &["nul"]);
}

#[test]
fn a_message_that_is_all_body_or_all_header_or_nothing_is_one_too() {
    for message in ["", "\r\n", "\n", "\r", "x", "Subject: s", "\r\n\r\n", "--", "Content-Type:"] {
        let (split, _) = split(message.as_bytes());
        assert_eq!(split.skeleton.segments().len(), usize::from(!message.is_empty()), "{message:?}");
    }
}

#[test]
fn empty_lines_before_the_base64_text_do_not_hide_it() {
    let content = content(2000, 11);
    assert!(contents(&with_attachment(&format!("\r\n\n{}", attachment(&content)))) == [content]);
}

#[test]
fn an_abandoned_message_aborts_the_part_that_was_begun() {
    let message = with_attachment(&attachment(&content(200_000, 12)));
    for (fed, aborted) in [(100, 0), (message.len() / 2, 1), (message.len(), 0)] {
        let mut splitter = Splitter::new(Counting::default());
        splitter.feed(&message[..fed]).unwrap();
        let sink = splitter.abandon().unwrap();
        assert_eq!((sink.aborted, sink.begun), (aborted, sink.ended + aborted), "{fed}");
    }
}

#[test]
fn an_error_of_the_sink_comes_back_to_the_caller() {
    let mut splitter = Splitter::new(Counting { bytes: 1 << 30, ..Counting::default() });
    let message = with_attachment(&attachment(&content(200_000, 13)));
    assert_eq!(splitter.feed(&message), Err("full"));
}
