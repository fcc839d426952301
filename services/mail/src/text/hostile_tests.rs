//! Mail that is made to hurt: each limit on both sides, bombs, and bytes without sense.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Far above what each of these takes (milliseconds), far below what anything quadratic would take.
const TIME_MAX: Duration = Duration::from_secs(10);

fn extract_in_time(message: &[u8]) -> Extracted {
    let started = Instant::now();
    let extracted = extract(message);
    let took = started.elapsed();
    println!("{} bytes took {took:?}", message.len());
    assert!(took < TIME_MAX, "{} bytes took {took:?}", message.len());
    extracted
}

#[test]
fn body_text_ends_at_its_limit_and_that_is_said() {
    let message = |bytes: usize| [b"Subject: s\r\n\r\n".as_slice(), &vec![b'a'; bytes]].concat();
    let fits = extract(&message(BODY_TEXT_BYTES_MAX));
    assert!(fits.body.len() == BODY_TEXT_BYTES_MAX && !fits.partly_indexed);
    let cut = extract(&message(BODY_TEXT_BYTES_MAX + 1));
    assert!(cut.body.len() == BODY_TEXT_BYTES_MAX && cut.partly_indexed);
}

#[test]
fn source_bytes_end_at_their_limit_and_that_is_said() {
    let message = |bytes: usize| {
        let comment = "x".repeat(bytes - "a<!---->".len());
        format!("Content-Type: text/html\r\n\r\na<!--{comment}-->")
    };
    assert!(!extract(message(TEXT_SOURCE_BYTES_MAX).as_bytes()).partly_indexed);
    assert!(extract(message(TEXT_SOURCE_BYTES_MAX + 1).as_bytes()).partly_indexed);
}

#[test]
fn a_term_in_the_last_kilobyte_of_a_huge_mail_is_found_or_the_mail_is_flagged() {
    let line = format!("{}\r\n", "QUJD".repeat(19));
    let attachment = line.repeat(100 * 1024 * 1024 / line.len());
    let attached = |disposition: &str, end: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nfirst\r\n--x\r\n\
             Content-Type: {disposition}\r\nContent-Transfer-Encoding: base64\r\n\r\n{attachment}\r\n{end}"
        )
    };
    let giant = attached("application/zip; name=giant.zip", "--x\r\n\r\nlastterm\r\n--x--\r\n");
    let found = extract_in_time(giant.as_bytes());
    assert_eq!((found.body.as_str(), found.partly_indexed), ("first\nlastterm", false));
    let after = extract_in_time(attached("application/zip", "--x--\r\nlastterm\r\n").as_bytes());
    assert_eq!((after.body.as_str(), after.partly_indexed), ("first\nlastterm", false));
    let text = extract_in_time(attached("text/plain", "--x\r\n\r\nlastterm\r\n--x--\r\n").as_bytes());
    assert!(text.partly_indexed && text.body.len() <= BODY_TEXT_BYTES_MAX);
}

#[test]
fn nesting_is_followed_to_its_limit_and_beyond_it_flagged() {
    let nested = |levels: usize, header: fn(usize) -> String| {
        let mut message: String = (0..levels).map(header).collect();
        message.push_str("\n\ninnermost");
        message
    };
    let multiparts = |level| format!("Content-Type: multipart/mixed; boundary=b{level}b\n\n--b{level}b\n");
    let messages = |_| "Content-Type: message/rfc822\n\n".to_owned();
    for header in [multiparts as fn(usize) -> String, messages] {
        let fits = extract_in_time(nested(INDEXED_DEPTH_MAX, header).as_bytes());
        assert_eq!((fits.body.as_str(), fits.partly_indexed), ("innermost", false));
        assert!(extract_in_time(nested(INDEXED_DEPTH_MAX + 1, header).as_bytes()).partly_indexed);
        assert!(extract_in_time(nested(100_000, header).as_bytes()).partly_indexed);
    }
}

#[test]
fn encoded_messages_in_encoded_messages_end_at_the_same_depth() {
    let mut message = b"Subject: s\n\ninnermost".to_vec();
    for _ in 0..INDEXED_DEPTH_MAX {
        // Quoted-printable grows nothing here, so depth is the limit and not size.
        let headers = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n";
        message = [headers.as_slice(), &message].concat();
    }
    let fits = extract_in_time(&message);
    assert!(fits.body.ends_with("innermost") && !fits.partly_indexed);
    let headers = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n";
    let beyond = extract_in_time(&[headers.as_slice(), &message].concat());
    assert!(!beyond.body.contains("innermost") && beyond.partly_indexed);
}

#[test]
fn parts_are_visited_up_to_their_limit() {
    let message = |parts: usize| {
        let parts = (0..parts).map(|part| format!("--x\n\nword{part}\n")).collect::<Vec<_>>().concat();
        format!("Content-Type: multipart/mixed; boundary=x\n\n{parts}--x--\n")
    };
    let fits = extract_in_time(message(INDEXED_PARTS_MAX).as_bytes());
    assert!(fits.body.ends_with("word9999") && !fits.partly_indexed);
    let beyond = extract_in_time(message(INDEXED_PARTS_MAX + 1).as_bytes());
    assert!(beyond.body.ends_with("word9999") && beyond.partly_indexed);
}

#[test]
fn a_preamble_is_a_notice_up_to_its_limit() {
    let message = |bytes: usize, word: &str| {
        let filler = "x".repeat(bytes - word.len() - 2);
        format!("Content-Type: multipart/mixed; boundary=b\n\n{word} {filler}\n--b\n\npart\n--b--\n")
    };
    assert_eq!(extract(message(PREAMBLE_NOTICE_BYTES_MAX, "Mime").as_bytes()).body, "part");
    assert!(extract(message(PREAMBLE_NOTICE_BYTES_MAX + 1, "Mime").as_bytes()).body.starts_with("Mime x"));
    assert!(extract(message(PREAMBLE_NOTICE_BYTES_MAX, "Mine").as_bytes()).body.starts_with("Mine x"));
}

#[test]
fn header_blocks_are_read_up_to_their_limit() {
    let message = |bytes: usize| {
        let subject = "Subject: last\n";
        let filler = "X: ".to_owned() + &"x".repeat(bytes - subject.len() - "X: \n".len()) + "\n";
        format!("{filler}{subject}\nbody")
    };
    let fits = extract(message(INDEXED_HEADER_BYTES_MAX).as_bytes());
    assert_eq!((fits.subject.as_str(), fits.body.as_str(), fits.partly_indexed), ("last", "body", false));
    let beyond = extract(message(INDEXED_HEADER_BYTES_MAX + 1).as_bytes());
    assert_eq!((beyond.subject.as_str(), beyond.body.as_str(), beyond.partly_indexed), ("", "body", true));
}

#[test]
fn addresses_and_attachment_names_are_kept_up_to_their_limits() {
    let to = |addresses: usize| format!("To: {}\n\n", vec!["a@b.example"; addresses].join(",\n "));
    let fits = extract_in_time(to(ADDRESSES_MAX).as_bytes());
    assert!(fits.to.len() == ADDRESSES_MAX && !fits.partly_indexed);
    let beyond = extract_in_time(to(ADDRESSES_MAX + 1).as_bytes());
    assert!(beyond.to.len() == ADDRESSES_MAX && beyond.partly_indexed);

    let named = |name_bytes: usize, parts: usize| {
        let part = format!("--x\nContent-Type: image/png; name={}\n\n", "n".repeat(name_bytes));
        format!("Content-Type: multipart/mixed; boundary=x\n\n{}", part.repeat(parts))
    };
    assert!(!extract(named(8192, 128).as_bytes()).partly_indexed);
    let beyond = extract(named(8192, 129).as_bytes());
    assert!(beyond.attachments.len() == 128 && beyond.partly_indexed);
    assert!(extract(named(CONTENT_FIELD_BYTES_MAX, 1).as_bytes()).partly_indexed);
}

#[test]
fn html_bombs_cost_no_more_than_their_length() {
    let bombs = [
        "<div>".repeat(100_000) + "words",
        "<table><tr><td>".repeat(100_000) + "words",
        "<b><i><a href=x>".repeat(100_000) + "words",
        "<".repeat(1_000_000) + " words",
        "&".repeat(1_000_000) + " words",
        "&#x41".repeat(200_000) + " words",
        "<!--".repeat(200_000) + "--> words",
        "<script>".repeat(200_000) + "</script> words",
        "</".repeat(500_000) + "> words",
        "<a b='".repeat(100_000) + "'> words",
    ];
    for bomb in bombs {
        let extracted = extract_in_time(format!("Content-Type: text/html\n\n{bomb}").as_bytes());
        assert!(extracted.body.ends_with("words"), "{}", &bomb[..20]);
    }
    let never_ending =
        extract_in_time(("Content-Type: text/html\n\n".to_owned() + &"<script>".repeat(200_000)).as_bytes());
    assert!(never_ending.partly_indexed);
}

#[test]
fn header_bombs_cost_no_more_than_their_length() {
    let fill = |piece: &str| piece.repeat(1_000_000 / piece.len());
    let values = [
        "(",
        "<",
        "\"",
        ",",
        ":",
        "a@",
        "=?",
        "=?a?b?",
        "=?utf-8?b?AAAA?= ",
        "=?utf-8?q?=",
        "=?ab?q? ",
        "=?ab?q?",
        "=?ab?q?=ab ",
        "=?ab?Q?_\n ",
        "=?ab*cd?b?AAAA ",
        "=?ab?b? =?ab?q? ",
        "\"=?ab?q? \"",
        "a@b:",
        "\\",
        "a*0=b;",
        "a=b;",
        "x*1*=utf-8''%41;",
        "text/plain;",
        "Mon, ",
        "<a@b>",
        "a:;",
        "\n ",
        ";boundary=x",
    ];
    for field in ["From", "Subject", "Date", "Message-ID", "Content-Type", "Content-Disposition"] {
        for value in values {
            extract_in_time(format!("{field}: {}\n\nbody", fill(value)).as_bytes());
        }
    }
    // Words that all end at one place, but go wrong right before it.
    let late = fill(&("=?ab?q? ".repeat(60) + "=zz?= "));
    let at_the_end = fill("=?ab?q? ") + "=zz?=";
    for value in [late, at_the_end] {
        for field in ["From", "Subject"] {
            extract_in_time(format!("{field}: {value}\n\nbody").as_bytes());
        }
    }
    extract_in_time(fill("To: a\n").as_bytes());
    extract_in_time(fill("--\n").as_bytes());
    let boundary = "Content-Type: multipart/mixed; boundary=x\n\n--x\n".to_owned() + &fill("--y\n");
    extract_in_time(boundary.as_bytes());
}

const SAMPLE: &str = "From: =?utf-8?q?J=C3=BCrgen?= <j@x.example>, (comment) b@x.example\r\nTo: g: a@b;\r\n\
    Subject: =?iso-2022-jp?B?GyRCJU8lbSE8GyhC?= tail\r\nDate: Tue, 14 Nov 2023 23:13:20 +0100\r\n\
    Message-ID: <1@x>\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npre\r\n--b\r\n\
    Content-Type: text/html; charset=utf-7\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    <p title=3D'x'>Gr+APwA3w-e &uuml; <script>x</script><!-- c -->\r\n--b\r\nContent-Type: message/rfc822\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaW4KCmVuY29kZWQgd29yZHM=\r\n--b\r\n\
    Content-Disposition: attachment; filename*0*=utf-8'de'%C3%9Cber; filename*1=\"a b\"\r\n\
    Content-Type: text/plain; charset=utf-16\r\n\r\n\0a\0b\r\n--b--\r\npost";

const LABELS: [&str; 14] = [
    "utf-7",
    "utf-8",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "iso-2022-jp",
    "iso-2022-kr",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-kr",
    "macintosh",
    "ibm850",
    "nonsense",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_read(message in prop::collection::vec(any::<u8>(), 0..2_000)) {
        extract(&message);
    }

    #[test]
    fn mail_with_damage_anywhere_is_read(
        changes in prop::collection::vec((0..SAMPLE.len(), prop_oneof![Just("\r\n".to_owned()), Just("--b".to_owned()), ".{0,3}", Just("=?".to_owned()), Just("*".to_owned()), Just("'".to_owned()), Just("\"".to_owned()), Just("(".to_owned()), Just(")".to_owned())], 0..8_usize), 1..8),
        cut in 0..SAMPLE.len(),
    ) {
        let mut message = SAMPLE.as_bytes().to_vec();
        for (at, insert, remove) in changes {
            let at = at.min(message.len());
            let end = (at + remove).min(message.len());
            message.splice(at..end, insert.bytes());
        }
        extract(&message);
        extract(&message[..cut.min(message.len())]);
    }

    #[test]
    fn any_text_in_any_charset_is_read(label in prop::sample::select(&LABELS), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in ["plain", "html"] {
            let head = format!("Content-Type: text/{kind}; charset={label}\r\n\r\n");
            extract(&[head.as_bytes(), &bytes].concat());
        }
    }

    #[test]
    fn any_header_value_is_read(value in "[ -~\t\r\nä]{0,120}") {
        for field in ["From", "Subject", "Date", "Message-ID", "Content-Type", "Content-Disposition"] {
            extract(format!("{field}: {value}\r\n\r\n").as_bytes());
        }
    }

    #[test]
    fn words_in_markup_are_kept_and_markup_is_not(words in prop::collection::vec("[a-zäöü]{1,8}", 1..20)) {
        let part = |word| format!("<p class=\"markup\" data-x='>'>{word}</p><!-- comment -->");
        let html = words.iter().map(part).collect::<Vec<_>>().concat();
        let extracted = extract(format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}").as_bytes());
        prop_assert_eq!(extracted.body, words.join("\n"));
    }
}
