use super::*;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// The body text of a message, which must be completely indexed, whatever its line endings.
fn check_body(message: &str, expected: &str) {
    for bytes in [message.as_bytes().to_vec(), crlf(message)] {
        let extracted = extract(&bytes);
        assert_eq!(extracted.body.replace('\r', ""), expected, "{message}");
        assert!(!extracted.partly_indexed, "{message}");
    }
}

fn address(name: &str, address: &str) -> Address {
    Address { name: name.to_owned(), address: address.to_owned() }
}

#[test]
fn headers_are_read_and_decoded() {
    let message = crlf(
        "From: =?iso-8859-1?Q?J=FCrgen_Gro=DF?= <juergen@example.com>\n\
         To: \"Doe, Jane\" <jane@example.org>, team: a@x.example, Bee <b@x.example>;\n\
         Cc: =?utf-8?B?5L2g5aW9?= <nihao@example.cn>,\n\tplain@example.net\n\
         Bcc: hidden@example.com\n\
         Sender: office@example.com\n\
         Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_aus_K=C3=B6ln?=\n and more\n\
         Date: Tue, 14 Nov 2023 23:13:20 +0100\n\
         Message-ID: <one.two@example.com>\n\nText.\n",
    );
    let extracted = extract(&message);
    assert_eq!(extracted.from, [address("Jürgen Groß", "juergen@example.com")]);
    let to =
        [address("Doe, Jane", "jane@example.org"), address("", "a@x.example"), address("Bee", "b@x.example")];
    assert_eq!(extracted.to, to);
    assert_eq!(extracted.cc, [address("你好", "nihao@example.cn"), address("", "plain@example.net")]);
    assert_eq!(extracted.bcc, [address("", "hidden@example.com")]);
    assert_eq!(extracted.others, [address("", "office@example.com")]);
    assert_eq!(extracted.subject, "Grüße aus Köln and more");
    assert_eq!(extracted.date, Some(Timestamp::from_millis(1_700_000_000_000)));
    assert_eq!(extracted.message_id.as_deref(), Some("one.two@example.com"));
    assert_eq!(extracted.body, "Text.");
    assert!(!extracted.partly_indexed && !extracted.has_attachment);
}

#[test]
fn a_mail_without_message_id_date_or_any_header_is_read_all_the_same() {
    let extracted = extract(b"Subject: none of them\r\n\r\nwords");
    assert_eq!((extracted.message_id, extracted.date), (None, None));
    assert_eq!((extracted.subject.as_str(), extracted.body.as_str()), ("none of them", "words"));
    assert_eq!(extract(b"\r\nbody only").body, "body only");
    assert_eq!(
        extract(b"no header at all\r\n\r\nsecond paragraph").body,
        "no header at all\nsecond paragraph"
    );
    assert_eq!(extract(b""), Extracted::default());
    assert_eq!(
        extract(b"Date: yesterday\r\nDate: Thu, 1 Jan 1970 00:00:60 +0000\r\n\r\n")
            .date
            .map(Timestamp::as_millis),
        Some(59_000)
    );
}

#[test]
fn raw_eight_bit_headers_are_read_in_the_charset_of_the_mail() {
    let check = |message: &[u8], subject: &str, name: &str| {
        let extracted = extract(message);
        assert_eq!((extracted.subject.as_str(), extracted.from[0].name.as_str()), (subject, name));
    };
    check("Subject: Grüße\r\nFrom: Jürgen <j@x.example>\r\n\r\n".as_bytes(), "Grüße", "Jürgen");
    check(b"Subject: Gr\xfc\xdfe\r\nFrom: J\xfcrgen <j@x.example>\r\n\r\n", "Grüße", "Jürgen");
    check(
        b"Subject: \xc4\xe3\xba\xc3\r\nFrom: \xc4\xe3 <j@x.example>\r\nContent-Type: text/plain; charset=gb2312\r\n\r\n",
        "你好",
        "你",
    );
}

#[test]
fn raw_bytes_in_an_encoded_word_are_in_the_charset_that_it_names() {
    let message = b"Subject: =?iso-8859-1?Q?Die_Fr\xf6sche?= und K\xf6ln\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    assert_eq!(extract(message).subject, "Die Frösche und Köln");
}

#[test]
fn a_repeated_header_hides_nothing() {
    let extracted = extract(b"Subject: one\nSubject: two\nTo: a@x.example\nTo: b@x.example\n\n");
    assert_eq!(extracted.subject, "one two");
    assert_eq!(extracted.to.len(), 2);
    assert_eq!(extract(b"Subject: same\nSubject: same\n\n").subject, "same");
}

#[test]
fn text_in_each_script_and_encoding_is_body_text() {
    check_body(
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZSDkvaDlpb0g16nXnNeV150=\n",
        "Grüße 你好 שלום",
    );
    check_body(
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: Quoted-Printable\n\nGr=FC=\n=DFe\n",
        "Grüße",
    );
    check_body("Content-Type: TEXT/PLAIN\n\nمرحبا בעולם\n", "مرحبا בעולם");
    let jis = b"Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\n\x1b$B%O%m!<\x1b(B\r\n";
    assert_eq!(extract(jis).body, "ハロー");
}

#[test]
fn html_is_indexed_as_text() {
    check_body(
        "Content-Type: text/html; charset=utf-8\n\n<html><style>p{x}</style><body onload='evil()'>\n\
         <script>var hidden = 1;</script><p>Gr&uuml;<b>&szlig;</b>e</p><!-- note --><div>two</div></body></html>\n",
        "Grüße\ntwo",
    );
}

#[test]
fn both_alternatives_are_indexed_because_they_may_differ() {
    check_body(
        "Content-Type: multipart/alternative; boundary=\"b 1\"\n\nThis is MIME.\n--b 1\n\nplain words\n\
         --b 1\nContent-Type: text/html\n\n<p>other words</p>\n--b 1--\n",
        "plain words\nother words",
    );
}

const ATTACHED: &str = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nSee attached.\n\
    --x\nContent-Type: application/pdf; name*=utf-8''%C3%9Cbersicht.pdf\n\
    Content-Disposition: attachment; filename*0*=utf-8''%C3%9Cber; filename*1=\"sicht 1.pdf\"\n\
    Content-Transfer-Encoding: base64\n\nUERG\n\
    --x\nContent-Type: image/png; name=\"=?iso-8859-1?Q?gr=FCn.png?=\"\n\nPNG\n\
    --x\nContent-Disposition: attachment; filename=notes.txt\n\nattached words\n\
    --x\nContent-Disposition: inline; filename=\"patch.diff\"\n\ninline words\n--x--\n";

#[test]
fn attachments_count_with_their_names() {
    for message in [ATTACHED.as_bytes().to_vec(), crlf(ATTACHED)] {
        let extracted = extract(&message);
        assert_eq!(extracted.attachments, ["Übersicht 1.pdf", "grün.png", "notes.txt", "patch.diff"]);
        assert_eq!(extracted.body.replace('\r', ""), "See attached.\ninline words");
        assert!(extracted.has_attachment && !extracted.partly_indexed);
    }
}

#[test]
fn names_of_elided_attachments_are_found_and_elided_text_is_said() {
    let skeleton = ATTACHED.replace("\nUERG\n", "\n").replace("\nPNG\n", "\n");
    let extracted = extract_with_elisions(skeleton.as_bytes(), false);
    assert_eq!(extracted.attachments.len(), 4);
    assert!(!extracted.partly_indexed);
    assert!(extract_with_elisions(skeleton.as_bytes(), true).partly_indexed);
}

#[test]
fn messages_in_messages_are_descended_into() {
    let inner = "Subject: innermost\nFrom: Deep <deep@x.example>\nContent-Type: multipart/mixed; boundary=i\n\n\
        --i\n\ndeep words\n--i\nContent-Disposition: attachment; filename=deep.pdf\nContent-Type: application/pdf\n\n%\n--i--\n";
    let middle = format!("Subject: middle\nContent-Type: message/rfc822\n\n{inner}");
    let outer = format!(
        "Subject: outer\nFrom: top@x.example\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\ntop words\n\
         --o\nContent-Type: message/rfc822; name=fwd.eml\n\n{middle}\n--o\n\nlast words\n--o--\n"
    );
    let extracted = extract(outer.as_bytes());
    assert_eq!(extracted.subject, "outer");
    assert_eq!(extracted.from, [address("", "top@x.example")]);
    assert_eq!(extracted.attachments, ["fwd.eml", "deep.pdf"]);
    assert_eq!(extracted.body, "top words\nmiddle\ninnermost\nDeep deep@x.example\ndeep words\nlast words");
    assert!(!extracted.partly_indexed);
    // Not allowed, but it occurs: a message in base64.
    let encoded = "Content-Type: multipart/digest; boundary=o\n\n--o\nContent-Transfer-Encoding: base64\n\n\
        U3ViamVjdDogaW4KCmVuY29kZWQgd29yZHM=\n--o\n\nSubject: digest\n\nthird\n--o--\n";
    check_body(encoded, "in\nencoded words\ndigest\nthird");
}

#[test]
fn calendars_and_delivery_reports_are_text() {
    check_body(
        "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nSUMMARY:Budget\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\nSUMMARY:Budget\nEND:VCALENDAR",
    );
    check_body(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\n\nNot delivered.\n\
         --r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; gone@x.example\n\
         --r\nContent-Type: text/rfc822-headers\n\nSubject: lost\n--r--\n",
        "Not delivered.\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; gone@x.example\nSubject: lost",
    );
}

#[test]
fn sealed_mail_is_said_to_be_partly_indexed() {
    let part = |content_type: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nclear\n--x\nContent-Type: {content_type}\n\nsealed\n--x--\n"
        )
    };
    for sealed in [
        "application/pkcs7-mime; smime-type=signed-data; name=x.p7m",
        "application/x-pkcs7-mime",
        "application/ms-tnef",
        "application/octet-stream; name=WINMAIL.DAT",
        "application/pgp-encrypted",
        "message/partial; number=1; id=x",
    ] {
        let extracted = extract(part(sealed).as_bytes());
        assert!(
            extracted.partly_indexed && extracted.has_attachment && extracted.body == "clear",
            "{sealed}"
        );
    }
    for open in
        ["application/pkcs7-signature; name=smime.p7s", "application/pgp-signature", "application/pdf"]
    {
        assert!(!extract(part(open).as_bytes()).partly_indexed, "{open}");
    }
}

#[test]
fn broken_structure_hides_no_text() {
    check_body("Content-Type: multipart/mixed; boundary=x\n\nno boundary ever\n", "no boundary ever");
    check_body("Content-Type: multipart/mixed\n\nnone named\n", "none named");
    check_body("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nunterminated", "unterminated");
    check_body(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nmid --x line\n--xy\n--x--\n\nfooter\n",
        "mid --x line\n--xy\nfooter",
    );
    check_body(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nno header, no empty line\n--x--\n",
        "no header, no empty line",
    );
    check_body(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n\none\n--x\n\ntwo\n--y\n--x--\n",
        "one\ntwo\n--y",
    );
    check_body(
        "From a@b.example Tue Nov 14 22:13:20 2023\nSubject: s\nthis is no field\n\nbody\n",
        "this is no field\nbody",
    );
    assert_eq!(extract(b"Content-Type: text/plain\n\nNUL \0 and \r bare").body, "NUL \0 and \r bare");
}
