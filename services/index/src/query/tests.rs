use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn check(text: &str, canonical: &str) {
    let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}\n{}", error.caret(text)));
    assert_eq!(query.to_string(), canonical, "{text}");
    assert_eq!(Query::parse(canonical).as_ref(), Ok(&query), "{canonical}");
}

#[test]
fn every_form_of_the_grammar_has_one_canonical_form() {
    for (text, canonical) in [
        ("report", "report"),
        ("  Quarterly\treport \n", "Quarterly report"),
        ("a AND b and c", "a b and c"),
        ("a OR b c OR d", "a OR b c OR d"),
        ("(a OR b) c", "(a OR b) c"),
        ("(a OR b)(c OR d)", "(a OR b) (c OR d)"),
        ("((a) b) (c (d))", "a b c d"),
        ("(a OR b) OR (c OR d)", "a OR b OR c OR d"),
        ("NOT a", "-a"),
        ("-a -\"b c\" -(d e) -from:f", "-a -\"b c\" -(d e) -from:f"),
        ("NOT NOT a", "--a"),
        ("a AND NOT (b OR c)", "a -(b OR c)"),
        ("\"one\"", "one"),
        ("\"one two\"", "\"one two\""),
        ("\"AND\" \"-x\" \"re: x\" \"re:x\"", "\"AND\" \"-x\" \"re: x\" \"re:x\""),
        (r#""say \"hi\" \\ twice""#, r#""say \"hi\" \\ twice""#),
        ("foo-bar 12:30 x=y", "foo-bar 12:30 x=y"),
        ("repo* \"annual repo\"* AND*", "repo* \"annual repo\"* \"AND\"*"),
        ("From:alice@example.org TO:@example.org", "from:alice@example.org to:@example.org"),
        ("from:\"Alice Smith\" cc:-x bcc:AND", "from:\"Alice Smith\" cc:-x bcc:AND"),
        (
            "participant:bob subject:re:x body:x attachment:a.pdf",
            "participant:bob subject:re:x body:x attachment:a.pdf",
        ),
        ("message-id:<a+b=c@d.e> Message-ID:\"x (y)\"", "message-id:<a+b=c@d.e> message-id:\"x (y)\""),
        ("date:2024-02-29", "date:2024-02-29"),
        ("date:2024-01-01..2024-02-01", "date:2024-01-01..2024-02-01"),
        ("date:2024-01-01..2024-01-01", "date:2024-01-01"),
        ("date:2024-01-01.. date:..2024-01-01", "date:2024-01-01.. date:..2024-01-01"),
        ("after:2024-01-01 before:2024-03-01", "date:2024-01-01.. date:..2024-02-29"),
        ("has:attachment HAS:Attachment", "has:attachment has:attachment"),
        ("\"annual report\"~3 from:\"Smith Alice\"~007", "\"annual report\"~3 from:\"Smith Alice\"~7"),
        ("body:\"a b\"~0 -\"foo-bar\"~100", "body:\"a b\"~0 -\"foo-bar\"~100"),
        ("size:>1mb SIZE:<=10KiB size:5..5", "size:1000001.. size:..10240 size:5"),
        ("size:10kb..2mb size:1gib.. size:..0", "size:10000..2000000 size:1073741824.. size:..0"),
        ("agent:mx1 AGENT:Mx-2 agent:mx-*", "agent:mx1 agent:Mx-2 agent:mx-*"),
        // Words like any other, as they always were.
        ("a NEAR b a~3 \"size\" \"agent:x\" \"x:y~2\"", "a NEAR b a~3 size \"agent:x\" \"x:y~2\""),
        ("* -*", "* -*"),
        ("日本語 שלום", "日本語 שלום"),
    ] {
        check(text, canonical);
    }
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    let parsed = Query::parse("a b OR -c d").unwrap();
    let word = |text: &str| Query::Text(TextTerm::new(Field::Anywhere, text, Form::Whole).unwrap());
    let expected = Query::Or(vec![
        Query::And(vec![word("a"), word("b")]),
        Query::And(vec![word("c").negate(), word("d")]),
    ]);
    assert_eq!(parsed, expected);
}

/// The query has a `|` where the error is to be.
fn check_error(marked: &str, kind: QueryErrorKind) {
    let at = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    assert_eq!(Query::parse(&text), Err(QueryError { kind, at }), "{marked}");
}

#[test]
fn errors_say_what_and_where() {
    use QueryErrorKind as Kind;
    for (marked, kind) in [
        ("|", Kind::Empty),
        ("|  ", Kind::Empty),
        ("a |\"b c", Kind::UnclosedQuote),
        ("a \"b |\\c\"", Kind::UnknownEscape),
        ("\"b |\\", Kind::UnknownEscape),
        ("a|\"b\"", Kind::QuoteInTerm),
        ("\"b\"|a", Kind::QuoteInTerm),
        ("a |(b", Kind::UnclosedParenthesis),
        ("a |(", Kind::UnclosedParenthesis),
        ("a|) b", Kind::UnopenedParenthesis),
        ("|)", Kind::UnopenedParenthesis),
        ("a |()", Kind::EmptyParentheses),
        ("a |AND", Kind::NothingAfterOperator),
        ("a |OR OR b", Kind::NothingAfterOperator),
        ("(a |NOT)", Kind::NothingAfterOperator),
        ("|OR a", Kind::NothingBeforeOperator),
        ("(|AND a)", Kind::NothingBeforeOperator),
        ("a |- b", Kind::LoneMinus),
        ("a |-", Kind::LoneMinus),
        ("ü |http://x.example", Kind::UnknownField),
        ("from:| :x", Kind::NothingAfterField),
        ("from:| x", Kind::NothingAfterField),
        ("(to:|)", Kind::NothingAfterField),
        ("from:|(a OR b)", Kind::FieldBeforeParenthesis),
        ("a|*b", Kind::StarNotAtEnd),
        ("|*b", Kind::StarNotAtEnd),
        ("a|**", Kind::StarNotAtEnd),
        ("a |...", Kind::NothingSearchable),
        ("a |\"\"", Kind::NothingSearchable),
        ("from:|@", Kind::NothingSearchable),
        ("from:|*", Kind::NothingSearchable),
        ("message-id:|<>", Kind::NothingSearchable),
        ("from:|\"Alice alice@example.org\"", Kind::AddressWithSpaces),
        ("date:|yesterday", Kind::NoDay),
        ("date:2024-01-01..|2024-02-30", Kind::NoDay),
        ("after:|2024-01-01..", Kind::NoDay),
        ("date:|2024-02-01..2024-01-01", Kind::ReversedRange),
        ("date:|..", Kind::OpenRange),
        ("before:|0000-01-01", Kind::NothingBefore),
        ("\"a b\"|~", Kind::NoDistance),
        ("\"a b\"|~x", Kind::NoDistance),
        ("\"a b\"|~-1", Kind::NoDistance),
        ("\"a b\"~3|x", Kind::QuoteInTerm),
        ("\"a b\"*|~3", Kind::StarAndDistance),
        ("\"a b\"|~3*", Kind::StarAndDistance),
        ("\"a b\"|~99999999999", Kind::DistanceTooLarge),
        ("|\"a\"~3", Kind::DistanceOfOneWord),
        ("from:|\"a@b.example\"~3", Kind::DistanceWithoutWords),
        ("message-id:|\"a b\"~3", Kind::DistanceWithoutWords),
        ("size:|big", Kind::NoSize),
        ("size:1kb..|2kilo", Kind::NoSize),
        ("a size:|..", Kind::OpenSizes),
        ("size:|2mb..1mb", Kind::ReversedSizes),
        ("size:<|0", Kind::NothingSmaller),
        ("size:>|18446744073709551615", Kind::SizeTooLarge),
        ("size:|\"1mb\"", Kind::PlainValueOnly),
        ("size:|1mb*", Kind::PlainValueOnly),
        ("size:| 1mb", Kind::NothingAfterField),
        ("agent:|mx_1", Kind::NoAgentName),
        ("agent:|mx-", Kind::NoAgentName),
        ("agent:|-mx*", Kind::NoAgentName),
        ("agent:|\"a b\"", Kind::NoAgentName),
        ("agent:|*", Kind::NothingSearchable),
        ("has:|children", Kind::UnknownHas),
        ("date:|\"2024-01-01\"", Kind::PlainValueOnly),
        ("has:|attachment*", Kind::PlainValueOnly),
    ] {
        check_error(marked, kind);
    }
}

#[test]
fn the_caret_stands_below_the_place_also_in_long_and_strange_queries() {
    let shown = |text: &str| Query::parse(text).unwrap_err().caret(text);
    assert_eq!(shown("ü from:(a)"), "ü from:(a)\n       ^");
    assert_eq!(shown("a\n*b"), "a *b\n  ^");
    assert_eq!(shown("a AND"), "a AND\n  ^");
    let long = format!("{} b*c {}", "é ".repeat(100), "d ".repeat(100));
    let lines: Vec<_> = shown(&long).lines().map(|line| line.chars().count()).collect();
    assert_eq!(lines, [80, 41]);
}

#[test]
fn an_error_never_repeats_the_query() {
    let error = Query::parse("from:\"Secret Person secret@example.org\"").unwrap_err();
    assert!(!error.to_string().contains("ecret"), "{error}");
}

#[test]
fn limits_hold_on_both_sides() {
    let bytes = |length: usize| Query::parse(&"x".repeat(length));
    assert!(bytes(QUERY_BYTES_MAX).is_ok());
    let too_long = QueryErrorKind::TooLong { bytes: QUERY_BYTES_MAX + 1 };
    assert_eq!(bytes(QUERY_BYTES_MAX + 1).unwrap_err(), too_long.at(QUERY_BYTES_MAX));

    let nested = |depth: usize| Query::parse(&format!("{}a{}", "(".repeat(depth), ")".repeat(depth)));
    assert!(nested(QUERY_DEPTH_MAX).is_ok());
    assert_eq!(nested(QUERY_DEPTH_MAX + 1).unwrap_err(), QueryErrorKind::TooDeep.at(QUERY_DEPTH_MAX));
    let negated = |depth: usize| Query::parse(&format!("{}a", "-".repeat(depth)));
    assert!(negated(QUERY_DEPTH_MAX).is_ok());
    assert_eq!(negated(QUERY_DEPTH_MAX + 1).unwrap_err(), QueryErrorKind::TooDeep.at(QUERY_DEPTH_MAX));
    assert_eq!(Query::parse(&"(".repeat(QUERY_BYTES_MAX)).unwrap_err().kind, QueryErrorKind::TooDeep);

    let terms = |count: usize| Query::parse(&vec!["a"; count].join(" "));
    assert!(terms(QUERY_TERMS_MAX).is_ok());
    assert_eq!(terms(QUERY_TERMS_MAX + 1).unwrap_err(), QueryErrorKind::TooManyTerms.at(2 * QUERY_TERMS_MAX));

    let near = |distance: u16| Query::parse(&format!("\"a b\"~{distance}"));
    assert!(near(PROXIMITY_DISTANCE_MAX).is_ok());
    assert_eq!(near(PROXIMITY_DISTANCE_MAX + 1).unwrap_err(), QueryErrorKind::DistanceTooLarge.at(5));
    let term = |distance| TextTerm::new(Field::Body, "a b", Form::Near(distance));
    assert!(term(PROXIMITY_DISTANCE_MAX).is_ok());
    assert_eq!(term(PROXIMITY_DISTANCE_MAX + 1), Err(QueryErrorKind::DistanceTooLarge));

    let gathered = |count: usize| Query::parse(&format!("\"{}\"~3", vec!["a"; count].join(" ")));
    assert!(gathered(PROXIMITY_WORDS_MAX).is_ok());
    assert_eq!(gathered(PROXIMITY_WORDS_MAX + 1).unwrap_err(), QueryErrorKind::TooManyNear.at(0));

    let agent = |length: usize| Query::parse(&format!("agent:{}", "x".repeat(length)));
    assert!(agent(openarchive_domain::NAME_BYTES_MAX).is_ok());
    assert_eq!(agent(openarchive_domain::NAME_BYTES_MAX + 1).unwrap_err(), QueryErrorKind::NoAgentName.at(6));
}

/// Queries that were saved once, and what they were understood as. Lines are added, never changed or taken away.
const SAVED_QUERIES: &str = include_str!("../../fixtures/queries-v1.tsv");

#[test]
fn a_saved_query_is_understood_as_it_was_when_it_was_saved() {
    let lines = SAVED_QUERIES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut count = 0;
    for line in lines {
        let (saved, canonical) = line.split_once('\t').unwrap_or_else(|| panic!("no tab: {line}"));
        check(saved, canonical);
        count += 1;
    }
    assert!(count >= 163, "none was taken away: {count}");
}

/// The manual's examples stand between ```` ```query ```` and ```` ``` ````, one on a line.
#[test]
fn every_example_of_the_manual_is_a_query_and_its_limits_are_the_real_ones() {
    let manual = include_str!("../../../../docs/query.md");
    let mut examples = 0;
    for block in manual.split("```query\n").skip(1) {
        for example in block.split("```").next().unwrap().lines() {
            Query::parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples}");
    for limit in [
        format!("| `QUERY_BYTES_MAX` | {QUERY_BYTES_MAX} bytes"),
        format!("| `QUERY_DEPTH_MAX` | {QUERY_DEPTH_MAX} levels"),
        format!("| `QUERY_TERMS_MAX` | {QUERY_TERMS_MAX} terms"),
        format!("| `PROXIMITY_WORDS_MAX` | {PROXIMITY_WORDS_MAX} words"),
        format!("| `PROXIMITY_DISTANCE_MAX` | {PROXIMITY_DISTANCE_MAX} words"),
        format!("| `ENDINGS_MAX` | {} words", crate::engine::ENDINGS_MAX),
        format!("version {QUERY_VERSION}"),
    ] {
        assert!(manual.contains(&limit), "{limit}");
    }
}

fn term() -> impl Strategy<Value = Query> {
    let field = prop::sample::select(Field::NAMED.into_iter().chain([Field::Anywhere]).collect::<Vec<_>>());
    let text = "[a-c日ü\" \\\\():*@.AND-]{1,8}";
    let form =
        prop_oneof![Just(Form::Whole), Just(Form::Prefix), (0..=PROXIMITY_DISTANCE_MAX).prop_map(Form::Near)];
    let text_term = (field, text, form).prop_filter_map("nothing searchable", |(field, text, form)| {
        TextTerm::new(field, text, form).ok().map(Query::Text)
    });
    let day = (0..9999i16, 1..=12u8, 1..=28u8)
        .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}").parse::<Day>().unwrap());
    let range = (prop::option::of(day.clone()), prop::option::of(day))
        .prop_filter_map("no range", |(first, last)| DateRange::new(first, last).map(Query::Date));
    let size = || prop::option::of(prop_oneof![0..5_u64, any::<u64>()]);
    let sizes = (size(), size())
        .prop_filter_map("no range", |(first, last)| SizeRange::new(first, last).map(Query::Size));
    prop_oneof![6 => text_term, 1 => range, 1 => sizes, 1 => Just(Query::HasAttachment), 1 => Just(Query::All)]
}

fn query() -> impl Strategy<Value = Query> {
    term().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Query::all_of),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| Query::any_of(parts).unwrap()),
            inner.prop_map(Query::negate),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_canonical_form_parses_to_the_same_query(query in query()) {
        let text = query.to_string();
        prop_assert_eq!(Query::parse(&text), Ok(query), "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        if let Err(error) = Query::parse(&text) {
            prop_assert!(text.is_char_boundary(error.at));
            error.caret(&text);
        }
    }

    #[test]
    fn what_parses_has_a_canonical_form(text in "(from:|date:|size:|agent:|to:|~[0-9]|[<>]=?|1[km]b|-|\\(|\\)|\"|\\*| |AND |OR |NOT |2024-01-0[1-9]|\\.\\.|[ab日@.:\\\\]){0,14}") {
        match Query::parse(&text) {
            Ok(query) => {
                let canonical = query.to_string();
                prop_assert_eq!(Query::parse(&canonical), Ok(query), "{}", canonical);
            }
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.at));
                error.caret(&text);
            }
        }
    }
}
