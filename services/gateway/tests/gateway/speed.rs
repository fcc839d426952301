//! How long a search takes by REST, authorisation and durable audit leaf included. Prints it; asserts what must hold on
//! any machine.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::archive::Archive;

const SEARCHES: usize = 300;
/// A page that a person waits for, on a machine that does other things besides.
const MEDIAN_MAX: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_fifty_hits_comes_at_once() {
    let archive = Archive::start().await;
    let mails: Vec<Vec<u8>> = (0..120)
        .map(|n| {
            format!("From: a{n}@example.org\r\nTo: b@example.org\r\nSubject: report {n}\r\n\r\ntext {n}\r\n")
        })
        .map(String::into_bytes)
        .collect();
    archive.archive(&mails.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let mut times = Vec::with_capacity(SEARCHES);
    for _ in 0..SEARCHES {
        let begun = Instant::now();
        let page = archive.post("/api/v1/search/emails/", &json!({ "query": "report" })).await;
        times.push(begun.elapsed());
        assert_eq!(page.json()["results"].as_array().map(Vec::len), Some(50), "{page:?}");
    }
    times.sort_unstable();
    let (median, late) = (times[SEARCHES / 2], times[SEARCHES * 99 / 100]);
    println!("search by REST, 50 hits a page, audit leaf included: p50 {median:?}, p99 {late:?}");
    assert!(median < MEDIAN_MAX, "{median:?}");
}
