use super::*;

fn mail() -> MailText {
    MailText {
        from: vec![Address::new("Jürgen Müller", "J.Mueller@Example.org")],
        to: vec![Address::new("", "bob@example.com"), Address::new("Report Office", "office@example.org")],
        subject: "Der Jahresbericht, 日本語の report".into(),
        body: "Dear Bob,\r\nthe annual report is here. <b>report</b>\r\n".into(),
        attachments: vec!["Report_2024.pdf".into(), "logo.png".into()],
        ..MailText::default()
    }
}

/// Fragments as `field: text` with the matches in square brackets.
fn shown(query: &str, mail: &MailText) -> Vec<String> {
    let show = |fragment: &Fragment| {
        let mut text = String::new();
        for (at, c) in fragment.text.chars().enumerate() {
            if fragment.matches.iter().any(|mark| mark.start == at) {
                text.push('[');
            }
            text.push(c);
            if fragment.matches.iter().any(|mark| mark.end == at + 1) {
                text.push(']');
            }
        }
        format!("{}: {text}", fragment.field.name())
    };
    highlight(&Query::parse(query).unwrap(), mail).iter().map(show).collect()
}

#[test]
fn what_is_marked_is_what_was_found() {
    let check = |query: &str, expected: &[&str]| assert_eq!(shown(query, &mail()), expected, "{query}");
    check(
        "REPORT",
        &[
            "subject: Der Jahresbericht, 日本語の [report]",
            "body: Dear Bob,\r\nthe annual [report] is here. <b>[report]</b>",
            "attachment: [Report]_2024.pdf",
            "to: [Report] Office <office@example.org>",
        ],
    );
    check("body:\"annual report\"", &["body: Dear Bob,\r\nthe [annual] [report] is here. <b>report</b>"]);
    check("body:\"report annual\"", &[]);
    check("body:\"here annual\"~2", &["body: Dear Bob,\r\nthe [annual] report is [here]. <b>report</b>"]);
    check("body:\"here annual\"~1", &[]);
    check("body:\"report report\"~9", &["body: Dear Bob,\r\nthe annual [report] is here. <b>[report]</b>"]);
    check("subject:jahres*", &["subject: Der [Jahresbericht], 日本語の report"]);
    check("subject:\"der jahres\"*", &["subject: [Der] [Jahresbericht], 日本語の report"]);
    check("subject:本語", &["subject: Der Jahresbericht, 日[本語]の report"]);
    check("subject:日本語", &["subject: Der Jahresbericht, [日本語]の report"]);
    check("from:muller", &["from: Jürgen [Müller] <J.Mueller@Example.org>"]);
    check("from:j.mueller@example.org", &["from: Jürgen Müller <[J.Mueller@Example.org]>"]);
    check(
        "participant:@example.org",
        &["from: Jürgen Müller <J.Mueller[@Example.org]>", "to: Report Office <office[@example.org]>"],
    );
    check("to:example.com", &["to: bob[@example.com]"]);
    check("from:j.mu*", &["from: Jürgen Müller <[J.Mueller@Example.org]>"]);
    check("from:\"muller jurgen\"~0", &["from: [Jürgen] [Müller] <J.Mueller@Example.org>"]);
    check("attachment:pdf size:>1 date:2024-01-01..", &["attachment: Report_2024.[pdf]"]);
}

#[test]
fn what_is_not_wanted_is_not_marked() {
    for query in
        ["-report", "* -(office OR report)", "has:attachment", "size:1.. agent:mx1", "message-id:report"]
    {
        assert_eq!(shown(query, &mail()), <[String; 0]>::default(), "{query}");
    }
    assert_eq!(shown("logo OR (dear -office)", &mail()).len(), 2);
    assert_eq!(shown("-(-logo office)", &mail()), ["attachment: [logo].png"], "twice negated is wanted");
}

#[test]
fn a_fragment_is_a_piece_of_the_text_around_its_matches() {
    let far = |count: usize| vec!["word"; count].join(" ");
    let body = format!("{} needle {} needle {} needle {} needle", far(200), far(200), far(2), far(200));
    let mail = MailText { body, ..MailText::default() };
    let found = shown("needle", &mail);
    assert_eq!(found.len(), TEXT_FRAGMENTS_MAX);
    assert!(found[0].contains("word [needle] word"), "{found:?}");
    assert!(found[1].contains("[needle] word word [needle]"), "{found:?}");
    assert!(found[2].ends_with("word [needle]"), "{found:?}");
    let fragments = highlight(&Query::parse("needle").unwrap(), &mail);
    assert!(fragments.iter().all(|fragment| fragment.text.len() <= FRAGMENT_BYTES_MAX));
}

#[test]
fn limits_hold_on_both_sides() {
    let many = |count: usize| MailText { attachments: vec!["needle".into(); count], ..MailText::default() };
    assert_eq!(shown("needle", &many(FRAGMENTS_MAX)).len(), FRAGMENTS_MAX);
    assert_eq!(shown("needle", &many(FRAGMENTS_MAX + 1)).len(), FRAGMENTS_MAX);
    // One long word: cut, and still a match from its start.
    let long = MailText { body: "ü".repeat(FRAGMENT_BYTES_MAX), ..MailText::default() };
    let found = highlight(&Query::parse("uu*").unwrap(), &long);
    assert_eq!(found[0].text.len(), FRAGMENT_BYTES_MAX);
    assert_eq!(found[0].matches.as_slice(), std::slice::from_ref(&(0..FRAGMENT_BYTES_MAX / 2)));
    // Beyond the limit a far match is not seen.
    let with =
        |count: usize| MailText { body: format!("{} last", "first ".repeat(count)), ..MailText::default() };
    let query = Query::parse("\"first last\"").unwrap();
    assert_eq!(highlight(&query, &with(MATCHES_MAX - 1)).len(), 1);
    assert_eq!(highlight(&query, &with(MATCHES_MAX)).len(), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None,
        ..proptest::prelude::ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn any_text_gives_ranges_within_it_in_order(
        text in "([abü日本 \r\n@.<>\u{301}]|needle ){0,200}",
        query in "(a|needle|日本|\"a b\"~[0-9]|ne\\*|a@b|\"\u{fc} a\"\\*)( (OR )?(b|from:a|needle)){0,2}",
    ) {
        let mail = MailText {
            from: vec![Address::new(text.clone(), text.clone())], body: text.clone(), subject: text,
            ..MailText::default()
        };
        for fragment in highlight(&Query::parse(&query).unwrap(), &mail) {
            let length = fragment.text.chars().count();
            let mut end = 0;
            proptest::prop_assert!(!fragment.matches.is_empty());
            for mark in fragment.matches {
                proptest::prop_assert!(end <= mark.start && mark.start < mark.end && mark.end <= length);
                end = mark.end;
            }
        }
    }
}
