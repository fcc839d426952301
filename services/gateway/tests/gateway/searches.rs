//! What a search answers beyond its hits: highlights, explanations, what later observations bring.

use openarchive_domain::{Digest, SystemClock};
use openarchive_gateway::{Gateway, HIGHLIGHT_SOURCE_BYTES_MAX, HIGHLIGHTED_HITS_MAX};
use serde_json::{Value, json};

use crate::archive::{Archive, tenant};

const SEARCH: &str = "/api/v1/search/emails/";
const EXPLAIN: &str = "/api/v1/search/explain/";

const HTML: &[u8] = b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?= \
    matters\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>The <b>airship</b> &lt;script&gt; \
    flies <img src=\"http://tracker.example/x\"> south</p>\r\n";

/// The fragments of a hit as `field: text`, matches in square brackets.
fn shown(hit: &Value) -> Vec<String> {
    let fragments = hit["highlights"]["fragments"].as_array().unwrap();
    let show = |fragment: &Value| {
        let mut text: Vec<String> =
            fragment["text"].as_str().unwrap().chars().map(|c| c.to_string()).collect();
        for found in fragment["matches"].as_array().unwrap() {
            let at = |name: &str| found[name].as_u64().unwrap() as usize;
            text[at("start")].insert(0, '[');
            text[at("end") - 1].push(']');
        }
        format!("{}: {}", fragment["field"].as_str().unwrap(), text.concat())
    };
    fragments.iter().map(show).collect()
}

#[tokio::test]
async fn highlights_are_pieces_of_the_archived_text_and_their_search_is_a_leaf_that_says_so() {
    let archive = Archive::start().await;
    let long = [
        b"Subject: long airship\r\n\r\n".as_slice(),
        &b"filling the first mebibyte\r\n".repeat(HIGHLIGHT_SOURCE_BYTES_MAX / 28 + 1),
        b"airship at the end\r\n",
    ]
    .concat();
    let whole = [&long[..HIGHLIGHT_SOURCE_BYTES_MAX - 9], b" airship\n"].concat();
    archive.archive(&[HTML, &long, &whole]).await;
    let before = archive.audit_size().await;
    let body = json!({ "query": "airship OR grosse OR from:jurgen OR \"flies the\"~9", "highlight": true });
    let answer = archive.post(SEARCH, &body).await.json();
    assert_eq!(archive.actions(before).await, ["search.highlight"]);
    let hit = |mail: &[u8]| {
        let id = Digest::of(mail).to_string();
        answer["results"].as_array().unwrap().iter().find(|hit| hit["id"] == id.as_str()).unwrap()
    };
    assert_eq!(hit(HTML)["highlights"]["state"], "complete");
    let found = shown(hit(HTML));
    assert_eq!(found[0], "subject: [Größe] matters");
    // Words, not markup; what the mail wrote as text stays text.
    assert_eq!(
        found[1].split_whitespace().collect::<Vec<_>>().join(" "),
        "body: [The] [airship] <script> [flies] south"
    );
    assert_eq!(found[2], "from: [Jürgen] <j@example.org>");
    assert_eq!(hit(&long)["highlights"]["state"], "partial");
    assert_eq!(shown(hit(&long)), ["subject: long [airship]"]);
    // What is just as long as that is read whole.
    assert_eq!(hit(&whole)["highlights"]["state"], "complete");
    assert!(shown(hit(&whole))[1].ends_with("[airship]"));

    let plain = archive.post(SEARCH, &json!({ "query": "airship" })).await.json();
    assert!(plain["results"][0].get("highlights").is_none());
    let limit = |limit: u32| json!({ "query": "airship", "highlight": true, "limit": limit });
    assert_eq!(archive.post(SEARCH, &limit(HIGHLIGHTED_HITS_MAX)).await.status, 200);
    archive.post(SEARCH, &limit(HIGHLIGHTED_HITS_MAX + 1)).await.assert_problem(400, "invalid-request");
}

#[tokio::test]
async fn a_mail_that_cannot_be_opened_is_found_without_highlights_and_no_other_tenant_sees_any() {
    let mut archive = Archive::start().await;
    archive.archive(&[HTML]).await;
    archive.token = Gateway::issue_token(&archive.pool, &tenant("other"), &SystemClock).await.unwrap();
    let body = json!({ "query": "airship", "highlight": true });
    let elsewhere = archive.post(SEARCH, &body).await.json();
    assert_eq!((&elsewhere["total"], &elsewhere["results"]), (&json!(0), &json!([])));

    archive.token = Gateway::issue_token(&archive.pool, &tenant("acme"), &SystemClock).await.unwrap();
    sqlx::query!("update storage.pack_entry set wrapped_dek = null").execute(&archive.pool).await.unwrap();
    let found = archive.post(SEARCH, &body).await.json();
    assert_eq!((&found["total"], &found["results"][0]["subject"]), (&json!(1), &json!("Größe matters")));
    assert_eq!(found["results"][0]["highlights"], json!({ "state": "unavailable", "fragments": [] }));
}

#[tokio::test]
async fn a_query_is_explained_without_a_leaf_and_its_errors_name_their_place() {
    let archive = Archive::start().await;
    let before = archive.audit_size().await;
    let explain = async |query: &str| archive.post(EXPLAIN, &json!({ "query": query })).await;
    let answer =
        explain("\"Annual Reports\"~3 NOT (from:Alice@Example.org OR size:>1mb) agent:MX1").await.json();
    assert_eq!(answer["version"], 1);
    assert_eq!(
        answer["canonical_query"],
        "\"Annual Reports\"~3 -(from:Alice@Example.org OR size:1000001..) agent:MX1"
    );
    let text = |written: &str, fields: &[&str], form: &str, words: &[&str], whole: &[&str]| json!({ "written": written, "fields": fields, "form": form, "words": words, "whole": whole });
    let mut near = text(
        "Annual Reports",
        &["subject", "body", "attachment", "participant"],
        "near",
        &["annual", "reports"],
        &[],
    );
    near["distance"] = json!(3);
    let expected = json!([
        { "depth": 0, "kind": "and" },
        { "depth": 1, "kind": "text", "text": near },
        { "depth": 1, "kind": "not" },
        { "depth": 2, "kind": "or" },
        { "depth": 3, "kind": "text", "text": text("Alice@Example.org", &["from"], "whole", &[], &["alice@example.org"]) },
        { "depth": 3, "kind": "size", "first": "1000001" },
        { "depth": 1, "kind": "text", "text": text("MX1", &["agent"], "whole", &[], &["mx1"]) },
    ]);
    assert_eq!(answer["nodes"], expected);
    let refused = explain("report size:>big").await;
    refused.assert_problem(400, "invalid-request");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("at byte 13") && detail.contains("size:>1mb") && !detail.contains("big"),
        "{detail}"
    );
    assert_eq!(archive.audit_size().await, before, "it reads no mail");
    let mut bare = archive.request("POST", EXPLAIN).body(axum::body::Body::from("{}")).unwrap();
    bare.headers_mut().remove("authorization");
    archive.call(bare).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_mail_is_found_by_its_size_and_by_whoever_saw_it_later_for_whomever() {
    let archive = Archive::start().await;
    archive.archive(&[HTML]).await;
    let size = HTML.len();
    for (query, total) in [
        (format!("size:{size}"), 1),
        (format!("size:>{size}"), 0),
        (format!("size:..{size} agent:mx1"), 1),
        ("agent:mx2 OR bcc:late@example.org".to_owned(), 0),
    ] {
        assert_eq!(archive.post(SEARCH, &json!({ "query": query })).await.json()["total"], total, "{query}");
    }
    archive.archive_as("acme/mx2", &["late@example.org"], &[HTML]).await;
    archive.wait_found("agent:mx2", 1).await;
    for query in ["agent:mx1 agent:mx2", "bcc:late@example.org bcc:hidden@example.org", "*"] {
        assert_eq!(archive.post(SEARCH, &json!({ "query": query })).await.json()["total"], 1, "{query}");
    }
}
