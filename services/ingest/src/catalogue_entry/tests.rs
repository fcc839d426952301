use super::*;

fn entry(message: &str) -> CatalogueEntry {
    CatalogueEntry::of(message.replace('\n', "\r\n").as_bytes())
}

#[test]
fn headers_are_shown_as_a_reader_expects_them() {
    let entry = entry(
        "From: =?utf-8?q?J=C3=BCrgen?= <J@Example.org>\nTo: a@example.org, B <b@example.org>\nCc: c@example.org\n\
         Bcc: d@example.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@example.org>\n\
         Date: Wed, 01 May 2024 12:00:00 +0200\n\nbody\n",
    );
    assert_eq!(entry.from, "Jürgen <J@Example.org>");
    assert_eq!(entry.to, ["a@example.org", "B <b@example.org>"]);
    assert_eq!(entry.cc, ["c@example.org"]);
    assert_eq!(entry.subject, "Grüße");
    assert_eq!(entry.message_id, "1@example.org");
    assert_eq!(entry.date, Some("2024-05-01T10:00:00.000Z".parse().unwrap()));
    let participants: Vec<(&str, &str)> =
        entry.participants.iter().map(|(role, address)| (role.as_str(), address.as_str())).collect();
    let expected = [
        ("from", "j@example.org"),
        ("to", "a@example.org"),
        ("to", "b@example.org"),
        ("cc", "c@example.org"),
        ("bcc", "d@example.org"),
    ];
    assert_eq!(participants, expected);
}

#[test]
fn a_message_without_any_header_has_an_empty_entry() {
    assert_eq!(CatalogueEntry::of(b""), CatalogueEntry::default());
    assert_eq!(entry("\nonly a body\n").subject, "");
}

#[test]
fn no_header_makes_a_row_that_the_database_refuses() {
    let many: Vec<String> = (0..2_000).map(|i| format!("recipient-{i}@example.org")).collect();
    let entry = entry(&format!(
        "Subject: a\0b {}\nTo: {}\nCc: {}@example.org\n\nbody\n",
        "ü".repeat(SUBJECT_BYTES_MAX),
        many.join(",\n "),
        "x".repeat(PARTICIPANT_BYTES_MAX)
    ));
    assert!(!entry.subject.contains('\0'));
    assert!(entry.subject.len() <= SUBJECT_BYTES_MAX);
    assert!(entry.to.iter().map(String::len).sum::<usize>() <= LIST_BYTES_MAX);
    assert_eq!(entry.to[0], many[0]);
    // All of them took part, whatever is shown.
    assert_eq!(entry.participants.iter().filter(|(role, _)| *role == Role::To).count(), many.len());
    assert!(entry.participants.iter().all(|(_, address)| address.len() <= PARTICIPANT_BYTES_MAX));
}

#[test]
fn text_is_cut_between_characters_at_its_limit() {
    assert_eq!(bounded("abcd", 4), "abcd");
    assert_eq!(bounded("abcde", 4), "abcd");
    assert_eq!(bounded("abcü", 4), "abc");
    let item = || "x".repeat(LINE_BYTES_MAX);
    let fitting = LIST_BYTES_MAX / LINE_BYTES_MAX;
    assert_eq!(list((0..fitting).map(|_| item())).len(), fitting);
    assert_eq!(list((0..=fitting).map(|_| item())).len(), fitting);
}

#[test]
fn an_envelope_names_its_sender_and_every_recipient_once() {
    let envelope = Envelope {
        from: String::new(),
        mode: "plain".to_owned(),
        peer: "mx".to_owned(),
        to: ["A@Example.org", "a@example.org", " b@example.org"].map(str::to_owned).to_vec(),
    };
    let expected = [(Role::EnvelopeTo, "a@example.org"), (Role::EnvelopeTo, "b@example.org")];
    assert_eq!(
        envelope_participants(&envelope),
        expected.map(|(role, address)| (role, address.to_owned())).into()
    );
}
