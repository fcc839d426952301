//! 200 generated queries against an independent scan; paging while mail arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use openarchive_domain::Digest;
use openarchive_e2e::Archive;
use openarchive_index::{Address, Document, query::Query, scan::matches};
use openarchive_mail::text::{Address as MailAddress, extract};
use openarchive_testkit::sample_mail::{Numbers, SampleMail, sample_mail};

use crate::first_day::send_all;

const WORDS: [&str; 16] = [
    "report",
    "invoice",
    "turbine",
    "zeppelin",
    "vertrag",
    "monat*",
    "zwölf",
    "räksmörgås",
    "grüße",
    "meeting",
    "boxes",
    "reykjavík",
    "お世話になっております",
    "請求書",
    "folder",
    "lawyer",
];
const CLAUSES: [&str; 14] = [
    "from:alice",
    "from:example.org",
    "to:bob@example.org",
    "participant:hanako",
    "subject:report",
    "subject:\"contract draft\"",
    "attachment:logo",
    "attachment:übersicht*",
    "has:attachment",
    "date:2023-11-15",
    "after:2023-11-16",
    "before:2023-11-17",
    "\"end of the month\"",
    "bcc:doerte",
];

/// Words of the sample mail's sentences, so that some stand near each other.
const NEAR_WORDS: [&str; 12] = [
    "end",
    "month",
    "invoice",
    "due",
    "turbine",
    "shipped",
    "monday",
    "lawyer",
    "paragraph",
    "agrees",
    "vertrag",
    "monate",
];
const SIZES: [&str; 7] = ["1kb", "2kib", "10kb", "30000", "50kb", "100KiB", "1mb"];

fn near(numbers: &mut Numbers) -> String {
    let words: Vec<&str> = (0..2 + numbers.below(2)).map(|_| numbers.pick(&NEAR_WORDS)).collect();
    let field = numbers.pick(&["", "body:", "subject:"]);
    format!("{field}\"{}\"~{}", words.join(" "), [0, 2, 5, 12, 100][numbers.below(5)])
}

fn size(numbers: &mut Numbers) -> String {
    let (one, other) = (numbers.below(SIZES.len()), numbers.below(SIZES.len()));
    match numbers.below(4) {
        0 => format!("size:>{}", SIZES[one]),
        1 => format!("size:<{}", SIZES[one]),
        2 => format!("size:..{}", SIZES[one]),
        _ => format!("size:{}..{}", SIZES[one.min(other)], SIZES[one.max(other)]),
    }
}

fn generated(numbers: &mut Numbers, depth: usize) -> String {
    match numbers.below(if depth == 0 { 5 } else { 9 }) {
        0 => numbers.pick(&WORDS).to_owned(),
        1 => numbers.pick(&CLAUSES).to_owned(),
        2 => near(numbers),
        3 => size(numbers),
        4 => format!("agent:{}", numbers.pick(&["AGENT", "AGENT*", "none", "n*"])),
        5 => format!("({} OR {})", generated(numbers, depth - 1), generated(numbers, depth - 1)),
        6 => format!("{} AND {}", generated(numbers, depth - 1), generated(numbers, depth - 1)),
        7 => format!("NOT {}", generated(numbers, 0)),
        _ => format!("{} {}", generated(numbers, depth - 1), generated(numbers, 0)),
    }
}

/// What the worker gives the index, made here from the mail alone.
fn document(mail: &SampleMail, agent: &str) -> Document {
    let text = extract(&mail.bytes);
    let addresses = |list: &[MailAddress]| {
        list.iter().map(|a| Address { name: a.name.clone(), address: a.address.clone() }).collect()
    };
    let mut document = Document::new("default".parse().unwrap(), Digest::of(&mail.bytes));
    document.from = addresses(&text.from);
    document.to = addresses(&text.to);
    document.cc = addresses(&text.cc);
    document.bcc = addresses(&text.bcc);
    document
        .bcc
        .extend(mail.to.iter().map(|address| Address { name: String::new(), address: address.clone() }));
    document.subject = text.subject;
    document.body = text.body;
    document.has_attachment = !text.attachments.is_empty();
    document.attachments = text.attachments;
    document.date = text.date;
    document.partly_indexed = text.partly_indexed;
    document.length = mail.bytes.len() as u64;
    document.agents = vec![agent.to_owned()];
    document
}

#[test]
fn two_hundred_generated_queries_agree_with_a_scan_over_the_same_mail() {
    let archive = Archive::dev();
    let mails = sample_mail(51, 150);
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(150, 60);
    let agents = archive.ctl(&["agents", "-o", "json"]).json();
    let agent = agents["agents"][0]["agent"].as_str().unwrap();
    let documents: BTreeMap<String, Document> =
        mails.iter().map(|mail| (Digest::of(&mail.bytes).to_string(), document(mail, agent))).collect();

    let mut numbers = Numbers::seeded(200);
    let mut answered = 0;
    let mut asked = BTreeSet::new();
    for n in 0..200 {
        let text = generated(&mut numbers, 2).replace("AGENT", agent);
        asked.extend(["~", "size:", "agent:"].into_iter().filter(|operator| text.contains(operator)));
        let query = Query::parse(&text).unwrap();
        let expected: BTreeSet<String> = documents
            .iter()
            .filter(|(_, document)| matches(document, &query))
            .map(|(id, _)| id.clone())
            .collect();
        let answer = archive.ctl(&["search", &text, "--all", "-o", "json"]);
        assert_eq!(answer.code, 0, "query {n} {text:?}: {answer:?}");
        let answer = answer.json();
        let found: BTreeSet<String> = answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, expected, "query {n}: {text}");
        assert_eq!(answer["total"].as_u64().unwrap(), expected.len() as u64, "query {n}: {text}");
        answered += usize::from(!expected.is_empty());
    }
    assert!(answered > 60, "the queries are not empty talk: {answered} found something");
    assert_eq!(asked.len(), 3, "every operator was asked for");
}

#[test]
fn an_index_that_an_older_version_left_is_made_anew_and_filled_with_every_mail() {
    let mut archive = Archive::dev();
    let mails = sample_mail(71, 40);
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(40, 60);
    archive.terminate();
    // What this version reads lies where an older one kept its own: nothing of it may be taken over.
    let index = archive.data().join("index");
    fs::rename(index.join("v2"), index.join("v1")).unwrap();
    archive.start();
    archive.wait_searchable(40, 60);
    assert!(!index.join("v1").exists(), "the old one is gone");
    let small = mails.iter().filter(|mail| mail.bytes.len() <= 1_000).count() as u64;
    assert_eq!(archive.count("size:<=1kb"), small);

    let found = archive.ctl(&["search", "zeppelin", "--highlight"]);
    assert!(
        found.code == 0 && found.stdout.contains("body: ") && found.stdout.contains("«zeppelin»"),
        "{found:?}"
    );
    let explained = archive.ctl(&["search", "\"Two words\"~3 size:>1mb", "--explain"]);
    assert!(explained.code == 0 && explained.stdout.contains("two words (in any order"), "{explained:?}");
    let refused = archive.ctl(&["search", "size:>big"]);
    assert!(refused.code == 1 && refused.stderr.contains("at byte 6"), "{refused:?}");
}

#[test]
fn paging_through_two_thousand_hits_while_mail_arrives_shows_each_hit_once() {
    let archive = Archive::dev();
    let mails = sample_mail(61, 2_000);
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(2_000, 240);

    let (smtp, roots) = (archive.smtp(), archive.authority());
    let mut arriving = None;
    let mut seen = BTreeSet::new();
    let mut cursor = String::new();
    let mut total = None;
    let mut pages = 0;
    loop {
        let mut arguments = vec!["search", "*", "--limit", "100", "-o", "json"];
        if !cursor.is_empty() {
            arguments.extend(["--cursor", &cursor]);
        }
        let page = archive.ctl(&arguments);
        assert_eq!(page.code, 0, "{page:?}");
        let page = page.json();
        let count = page["total"].as_u64().unwrap();
        assert_eq!(*total.get_or_insert(count), count, "the total stands still while paging");
        for hit in page["results"].as_array().unwrap() {
            let id = hit["id"].as_str().unwrap().to_owned();
            assert!(seen.insert(id), "a hit was shown twice");
        }
        pages += 1;
        // After the first page; the others are asked for when some of it is searchable, and more is still on its way.
        if arriving.is_none() {
            let (smtp, roots) = (smtp.clone(), roots.clone());
            arriving = Some(std::thread::spawn(move || send_all(&smtp, &roots, &sample_mail(62, 200))));
            archive.wait_searchable_at_least(2_001, 120);
        }
        cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    arriving.unwrap().join().unwrap();
    assert_eq!(seen.len() as u64, total.unwrap());
    assert!(pages >= 20);
    let missing = mails.iter().filter(|mail| !seen.contains(&Digest::of(&mail.bytes).to_string())).count();
    assert_eq!(missing, 0, "every mail that was there at the first page is shown");
    archive.wait_searchable(2_200, 120);
}
