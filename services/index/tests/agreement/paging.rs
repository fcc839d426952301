use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_index::{
    Document,
    engine::{Engine, Outcome, PAGE_HITS_MAX},
    query::Query,
};

use crate::agree::GENERATION;

const BEFORE: usize = 2000;
/// As many as an auditor has to read to the end.
const MANY: usize = 25_000;

/// Mail whose date is anywhere between the others', so that what arrives late would land on every page.
fn mail(number: usize) -> Document {
    let mut document = Document::new("acme".parse().unwrap(), Digest::of(&number.to_be_bytes()));
    document.subject = "status report".into();
    let moment = (number * 7919 % 500) as i64;
    document.date = (moment > 0).then(|| Timestamp::from_millis(moment * 60_000));
    document
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_shows_each_hit_exactly_once_while_mail_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    for start in (0..BEFORE).step_by(250) {
        engine.index((start..start + 250).map(mail).collect()).await.unwrap();
    }
    let paged = std::sync::Arc::new(AtomicBool::new(false));
    let feed = {
        let (engine, paged) = (engine.clone(), paged.clone());
        tokio::spawn(async move {
            let mut number = BEFORE;
            while !paged.load(Ordering::Relaxed) {
                let outcomes = engine.index((number..number + 10).map(mail).collect()).await.unwrap();
                assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Indexed));
                number += 10;
            }
            number
        })
    };

    let (total, shown) = all_pages(&engine, 23).await;
    paged.store(true, Ordering::Relaxed);
    let fed = feed.await.unwrap();

    assert!(total >= BEFORE && fed > total, "mail arrived while paging: {total} of {fed}");
    let expected: BTreeSet<_> = (0..total).map(|number| mail(number).message).collect();
    assert_eq!(shown, expected);
    let (tenant, query) = searched();
    assert_eq!(engine.count(&tenant, &query).await.unwrap(), fed as u64);
}

fn searched() -> (Tenant, Query) {
    ("acme".parse().unwrap(), Query::parse("report").unwrap())
}

/// The total, which stands still, and every hit of every page, each in its place and once.
async fn all_pages(engine: &Engine, page_hits: usize) -> (usize, BTreeSet<Digest>) {
    let (tenant, query) = searched();
    let mut shown = BTreeSet::new();
    let mut last = None;
    let mut cursor = None;
    let mut total = None;
    loop {
        let page = engine.search(&tenant, &query, cursor, page_hits).await.unwrap();
        assert_eq!(*total.get_or_insert(page.total), page.total, "the total stands still while paging");
        for hit in page.hits {
            let place = (std::cmp::Reverse(hit.date), hit.message);
            assert!(last.is_none_or(|last| last < place), "newest first, then by digest");
            last = Some(place);
            assert!(shown.insert(hit.message), "shown twice");
        }
        let Some(next) = page.next else { break };
        cursor = Some(next.parse().unwrap());
    }
    (total.unwrap() as usize, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_goes_to_the_last_of_25_000_hits_and_shows_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    for start in (0..MANY).step_by(2_500) {
        let outcomes = engine.index((start..start + 2_500).map(mail).collect()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Indexed));
    }
    let expected: BTreeSet<_> = (0..MANY).map(|number| mail(number).message).collect();
    // The last page is full, and it is not.
    for page_hits in [PAGE_HITS_MAX, 777] {
        let (total, shown) = all_pages(&engine, page_hits).await;
        assert_eq!(total, MANY);
        assert!(shown == expected, "{} of {MANY} hits with {page_hits} a page", shown.len());
    }
}
