use proptest::prelude::*;

use super::*;

/// Splits in chunks of the given sizes, over and over.
fn split_in_chunks(message: &[u8], sizes: &[usize]) -> Split {
    let mut splitter = Splitter::new(Counting::default());
    let mut rest = message;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        splitter.feed(chunk).unwrap();
        rest = after;
    }
    splitter.finish().unwrap().0
}

fn check(message: &[u8], sizes: &[usize]) {
    let (split, _) = split(message);
    assert!(split_in_chunks(message, sizes) == split, "chunks of {sizes:?} give another result");
}

fn chunk_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        proptest::collection::vec(1usize..100, 1..5),
        proptest::collection::vec(1usize..100_000, 1..4),
    ]
}

/// Pieces that mail is made of, put together without sense: most of what is interesting happens where they meet.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let line_end = || prop_oneof![4 => Just("\r\n"), 3 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    let header = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=a"),
        Just("Content-Type: multipart/digest; boundary=\"b\""),
        Just("Content-Type: message/rfc822"),
        Just("Content-Type: application/pdf; name=x"),
        Just("Content-Type: text/plain"),
        Just("Content-Transfer-Encoding: base64"),
        Just("Content-Transfer-Encoding: 8bit"),
        Just("Content-Disposition: attachment;"),
        Just("\tfilename=x"),
        Just("--a"),
        Just("--b"),
        Just("--a--"),
        Just("--b--  "),
        Just("--abc"),
        Just("x --a"),
        Just(""),
        Just(""),
        Just("="),
        Just("A"),
        Just("QUJD"),
    ];
    let base64 = (0usize..6000, 0u32..4, prop_oneof![Just(76usize), Just(72), 1usize..200], line_end())
        .prop_map(|(length, seed, line_length, line_end)| {
            (base64_text(&content(length, seed), line_length, line_end) + line_end).into_bytes()
        });
    prop_oneof![
        8 => (header, line_end()).prop_map(|(header, end)| [header, end].concat().into_bytes()),
        3 => base64,
        1 => (0usize..40_000).prop_map(|length| content(length, 9)),
        1 => (0usize..40_000).prop_map(|length| vec![b'A'; length]),
    ]
}

/// A message with a sound structure whose leaves are anything.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let leaf = (0usize..9, fragment(), fragment()).prop_map(|(kind, first, second)| {
        let header = [
            "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64",
            "Content-Type: image/png; name=i\r\nContent-Transfer-Encoding: BASE64",
            "Content-Type: application/octet-stream",
            "Content-Type: text/plain",
            "Content-Disposition: attachment",
            "Content-Type: message/rfc822",
        ];
        [header[kind % header.len()].as_bytes(), b"\r\n\r\n", &first, &second].concat()
    });
    (proptest::collection::vec(leaf, 0..5), any::<bool>()).prop_map(|(leaves, is_terminated)| {
        let mut mail = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n".to_vec();
        for leaf in leaves {
            mail.extend_from_slice(b"\r\n--outer\r\n");
            mail.extend_from_slice(&leaf);
        }
        if is_terminated {
            mail.extend_from_slice(b"\r\n--outer--\r\n");
        }
        mail
    })
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn any_bytes_join_to_themselves_in_any_chunks(message: Vec<u8>, sizes in chunk_sizes()) {
        check(&message, &sizes);
    }

    #[test]
    fn fragments_of_mail_join_to_themselves_in_any_chunks(
        fragments in proptest::collection::vec(fragment(), 0..30), sizes in chunk_sizes(),
    ) {
        check(&fragments.concat(), &sizes);
    }

    #[test]
    fn mail_joins_to_itself_in_any_chunks(mail in mail(), sizes in chunk_sizes()) {
        check(&mail, &sizes);
    }

    #[test]
    fn mail_with_damaged_bytes_joins_to_itself(
        mail in mail(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut mail = mail;
        for (at, byte) in damage {
            let at = at.index(mail.len());
            mail[at] = byte;
        }
        check(&mail, &[1]);
    }

    #[test]
    fn any_base64_of_any_line_length_joins_to_itself_and_gives_its_content(
        length in 1024usize..200_000, line_length in 1usize..70_000, crlf: bool, sizes in chunk_sizes(),
    ) {
        let content = content(length, 10);
        let line_end = if crlf { "\r\n" } else { "\n" };
        let message = with_attachment(&(base64_text(&content, line_length, line_end) + line_end));
        check(&message, &sizes);
        // A first line longer than a recipe can name counts as the only one.
        if line_length <= crate::limits::LINE_CHARACTERS_MAX {
            prop_assert!(contents(&message) == [content]);
        }
    }
}

#[test]
fn a_message_of_many_blocks_is_the_same_in_any_chunks() {
    let content = content(700_000, 11);
    for line_length in [76, 73, usize::MAX] {
        let body = base64_text(&content, line_length, "\r\n") + "\r\n";
        let spoiled = format!("{}!{}", &body[..500_000], &body[500_000..]);
        for body in [body, spoiled] {
            for size in [1, 77, 78, 4096, 65_536, 1 << 20] {
                check(&with_attachment(&body), &[size]);
            }
        }
    }
}
