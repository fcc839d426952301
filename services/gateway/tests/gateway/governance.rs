//! Holds, quarantine and shredding, as people reach them.

use std::sync::Arc;

use axum::{body::Body, http::header};
use openarchive_domain::{Digest, SystemClock};
use openarchive_gateway::{
    BODY_BYTES_MAX, EXPIRY_PLAN_MESSAGES_MAX, Gateway, HOLD_MESSAGES_MAX, LARGE_BODY_BYTES_MAX,
    QUARANTINE_LIST_MAX, QUERY_BYTES_MAX, REASON_BYTES_MAX, SHRED_MESSAGES_MAX,
};
use openarchive_ledger::shred_certificate::verify_certificate;
use serde_json::{Value, json};

use crate::archive::{Answer, Archive, WAIT_MAX, tenant};

pub(crate) const HOLDS: &str = "/api/v1/holds/";
pub(crate) const SHREDS: &str = "/api/v1/shreds/";
const QUARANTINE: &str = "/api/v1/quarantine/";
const FIRST: &[u8] = b"From: alice@example.org\r\nSubject: zeppelin\r\n\r\nfirst\r\n";
const SECOND: &[u8] = b"From: bob@example.org\r\nSubject: zeppelin\r\n\r\nsecond\r\n";
const THIRD: &[u8] = b"From: carol@example.org\r\nSubject: lunch\r\n\r\nthird\r\n";
const LATER: &[u8] = b"From: dave@example.org\r\nSubject: zeppelin\r\n\r\nlater\r\n";

pub(crate) fn id(mail: &[u8]) -> String {
    Digest::of(mail).to_string()
}

impl Archive {
    /// Where every mail may be erased.
    pub(crate) async fn permitting() -> Self {
        let class = "10y-received-permitted".parse().unwrap();
        Self::start_keeping(class, Arc::new(SystemClock), |trust| trust).await
    }

    pub(crate) async fn hold(&self, body: Value) -> Answer {
        self.post(HOLDS, &body).await
    }

    async fn release(&self, hold: &str) -> Answer {
        self.post(&format!("{HOLDS}{hold}/release"), &json!({ "reason": "the case is closed" })).await
    }

    pub(crate) async fn shred(&self, mails: &[&[u8]]) -> Answer {
        let ids: Vec<String> = mails.iter().map(|mail| id(mail)).collect();
        self.post(SHREDS, &json!({ "messages": ids, "reason": "asked for by its sender" })).await
    }

    /// Waits until an order's keys are gone.
    pub(crate) async fn wait_shredded(&self, shred: &str) -> Value {
        let begun = tokio::time::Instant::now();
        loop {
            let order = self.get(&format!("{SHREDS}{shred}")).await.json();
            if order["state"] == "shredded" {
                return order;
            }
            assert!(begun.elapsed() < WAIT_MAX, "the order is not carried out: {order}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// No view of a mail is answered.
    pub(crate) async fn assert_unreadable(&self, mail: &[u8]) {
        for view in ["", "eml", "text", "proof"] {
            let answer = self.get(&format!("/api/v1/archive/emails/{}/{view}", id(mail))).await;
            answer.assert_problem(404, "not-found");
        }
    }

    async fn held_by(&self, parameters: &str) -> Vec<String> {
        let answer = self.get(&format!("{HOLDS}{parameters}")).await.json();
        let holds = answer["holds"].as_array().unwrap().iter();
        holds.map(|hold| hold["hold"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_hold_keeps_what_its_query_finds_then_and_mail_is_kept_until_its_last_hold_is_released() {
    let archive = Archive::permitting().await;
    archive.archive(&[FIRST, SECOND, THIRD]).await;
    let before = archive.audit_size().await;
    let by_query = json!({ "hold": "case-1", "reason": "court of Basel", "query": "Subject:zeppelin" });
    let held = archive.hold(by_query.clone()).await.json();
    assert_eq!((&held["hold"], &held["messages"]), (&json!("case-1"), &json!(2)), "{held}");
    assert_eq!(held["canonical_query"], "subject:zeppelin");
    assert!(held["leaf_index"].is_u64(), "{held}");
    archive.hold(by_query).await.assert_problem(409, "hold-exists");
    let named =
        archive.hold(json!({ "reason": "tax", "messages": [id(SECOND), id(THIRD), id(THIRD)] })).await;
    let named = named.json();
    assert_eq!(named["messages"], 2, "each mail once: {named}");
    let made_up = named["hold"].as_str().unwrap();
    assert_eq!(
        archive.actions(before).await,
        ["holds.set", "holds.set", "holds.set"],
        "the search of a hold is part of its act"
    );

    let holds = archive.get(HOLDS).await.json()["holds"].clone();
    assert_eq!((&holds[0]["hold"], &holds[0]["reason"]), (&json!("case-1"), &json!("court of Basel")));
    assert_eq!((&holds[0]["query"], &holds[0]["messages"]), (&json!("Subject:zeppelin"), &json!(2)));
    assert!(holds[1].get("query").is_none() && holds[1].get("released_at").is_none(), "{holds}");
    assert_eq!(archive.held_by(&format!("?message={}", id(SECOND))).await, ["case-1", made_up]);
    assert_eq!(archive.held_by(&format!("?message={}", id(FIRST))).await, ["case-1"]);

    // What comes later is under no hold, whatever it says.
    archive.archive_as("acme/mx2", &["bob@example.org"], &[LATER]).await;
    archive.wait_found("subject:zeppelin", 3).await;
    assert_eq!(archive.shred(&[LATER]).await.status, 200);
    for held in [&[FIRST][..], &[SECOND], &[THIRD], &[FIRST, THIRD]] {
        archive.shred(held).await.assert_problem(409, "held");
    }
    assert!(archive.release("case-1").await.json()["leaf_index"].is_u64());
    archive.shred(&[SECOND]).await.assert_problem(409, "held");
    archive.release("case-1").await.assert_problem(409, "hold-released");
    archive.release("case-2").await.assert_problem(404, "not-found");
    assert_eq!(archive.held_by("").await, [made_up]);
    assert_eq!(archive.held_by("?released=true").await, ["case-1", made_up]);
    assert_eq!(archive.release(made_up).await.status, 200);
    assert_eq!(archive.shred(&[FIRST, SECOND, THIRD]).await.status, 200);
    archive
        .hold(json!({ "reason": "too late", "messages": [id(FIRST)] }))
        .await
        .assert_problem(409, "shredded");
    archive.hold(json!({ "reason": "x", "query": "subject:airship" })).await.assert_problem(404, "not-found");
    archive.hold(json!({ "reason": "x", "query": "size:>big" })).await.assert_problem(400, "invalid-request");
}

#[tokio::test]
async fn shredded_mail_is_gone_for_every_reader_and_its_certificate_proves_it() {
    let archive = Archive::permitting().await;
    archive.archive(&[FIRST, SECOND]).await;
    let proof = archive.get(&format!("/api/v1/archive/emails/{}/proof", id(FIRST))).await;
    let before = archive.audit_size().await;
    let shred = "5f2b8f0e-6d0c-4b1e-9a55-0d3a2c1b7e44";
    let body = json!({ "shred": shred, "messages": [id(FIRST)], "reason": "asked for by its sender" });
    let ordered = archive.post(SHREDS, &body).await.json();
    assert_eq!(ordered["shred"], shred, "{ordered}");
    archive.assert_unreadable(FIRST).await;
    // An order whose answer was lost is sent again.
    assert_eq!(archive.post(SHREDS, &body).await.json(), ordered);
    let done = archive.wait_shredded(shred).await;
    assert_eq!((&done["cause"], &done["messages"]), (&json!("erasure"), &json!([id(FIRST)])));
    assert_eq!(done["leaf_index"], ordered["leaf_index"]);
    archive.wait_found("*", 1).await;
    archive.assert_unreadable(FIRST).await;
    assert_eq!(archive.get(&format!("/api/v1/archive/emails/{}/eml", id(SECOND))).await.body, SECOND);

    let certificate = format!("/api/v1/archive/emails/{}/shred-certificate", id(FIRST));
    let document = archive.get(&certificate).await;
    assert_eq!(document.header("content-type"), "application/json");
    let policy = archive.trust.as_ref().unwrap().policy_for(&tenant("acme"));
    let verified = verify_certificate(document.text(), Some(&policy), Some(proof.text())).unwrap();
    assert_eq!((verified.message, verified.identified.is_some()), (Digest::of(FIRST), true));
    assert!(!document.text().contains("zeppelin") && !document.text().contains("example.org"));
    archive
        .get(&format!("/api/v1/archive/emails/{}/shred-certificate", id(SECOND)))
        .await
        .assert_problem(404, "not-found");
    archive.get(&format!("{SHREDS}{}", uuid::Uuid::nil())).await.assert_problem(404, "not-found");
    archive.get(&format!("{SHREDS}first")).await.assert_problem(400, "invalid-request");
    let recorded = archive.actions(before).await;
    for action in ["shreds.order", "shreds.view", "shreds.certificate"] {
        assert!(recorded.iter().any(|recorded| recorded == action), "{action} is not in {recorded:?}");
    }
}

#[tokio::test]
async fn an_order_is_for_all_its_mail_or_none_and_its_id_for_this_order_only() {
    let archive = Archive::permitting().await;
    archive.archive(&[FIRST, SECOND]).await;
    archive.shred(&[FIRST, b"not archived"]).await.assert_problem(404, "not-found");
    let order = |mails: &[&[u8]]| {
        let ids: Vec<String> = mails.iter().map(|mail| id(mail)).collect();
        json!({ "shred": "5f2b8f0e-6d0c-4b1e-9a55-0d3a2c1b7e44", "messages": ids, "reason": "x" })
    };
    assert_eq!(archive.post(SHREDS, &order(&[FIRST])).await.status, 200);
    archive.post(SHREDS, &order(&[SECOND])).await.assert_problem(409, "shred-exists");
    archive.post(SHREDS, &order(&[FIRST, SECOND])).await.assert_problem(409, "shred-exists");
    archive.shred(&[FIRST, SECOND]).await.assert_problem(409, "shredded");
    assert_eq!(archive.get(&format!("/api/v1/archive/emails/{}/eml", id(SECOND))).await.body, SECOND);
}

#[tokio::test]
async fn of_a_hold_and_a_shred_at_one_moment_one_is_done_and_the_other_refused() {
    let archive = Archive::permitting().await;
    let mails: Vec<Vec<u8>> =
        (0..12).map(|n| format!("Subject: race {n}\r\n\r\ntext {n}\r\n").into_bytes()).collect();
    archive.archive(&mails.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    for mail in &mails {
        let alone = [mail.as_slice()];
        let (held, shredded) = tokio::join!(
            archive.hold(json!({ "reason": "court", "messages": [id(mail)] })),
            archive.shred(&alone),
        );
        let eml = archive.get(&format!("/api/v1/archive/emails/{}/eml", id(mail))).await;
        if held.status == 200 {
            shredded.assert_problem(409, "held");
            assert_eq!(eml.body, mail.as_slice());
        } else {
            held.assert_problem(409, "shredded");
            assert_eq!(shredded.status, 200, "{shredded:?}");
            eml.assert_problem(404, "not-found");
        }
    }
}

#[tokio::test]
async fn what_must_be_kept_is_not_shredded_before_its_time() {
    let archive = Archive::start().await;
    archive.archive(&[FIRST]).await;
    let refused = archive.shred(&[FIRST]).await;
    refused.assert_problem(409, "retained");
    assert!(refused.text().contains("10y-received-forbidden"), "{refused:?}");
    assert_eq!(archive.get(&format!("/api/v1/archive/emails/{}/eml", id(FIRST))).await.body, FIRST);
}

#[tokio::test]
async fn quarantined_mail_is_listed_until_somebody_releases_it() {
    let archive = Archive::start().await;
    archive.archive(&[FIRST]).await;
    archive.quarantine("acme/mx2", &[SECOND, THIRD]).await;
    let list = async |parameters: &str| archive.get(&format!("{QUARANTINE}{parameters}")).await.json();
    let all = list("").await;
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(2), "{all}");
    let first = &all["messages"][0];
    assert_eq!((&first["id"], &first["agent"]), (&json!(id(SECOND)), &json!("mx2")));
    assert_eq!(first["reason"], "no journal header");
    assert!(all.get("next_after").is_none(), "{all}");
    let page = list("?limit=1").await;
    assert_eq!(page["messages"][0]["id"], id(SECOND));
    let rest = list(&format!("?limit=10&after={}", page["next_after"])).await;
    assert_eq!(rest["messages"][0]["id"], id(THIRD));

    let before = archive.audit_size().await;
    let release = async |mail: &[u8]| {
        let path = format!("{QUARANTINE}{}/release", id(mail));
        archive.post(&path, &json!({ "reason": "looked at it" })).await
    };
    assert!(release(SECOND).await.json()["leaf_index"].is_u64());
    assert_eq!(list("").await["messages"].as_array().map(Vec::len), Some(1));
    release(SECOND).await.assert_problem(409, "not-quarantined");
    release(FIRST).await.assert_problem(409, "not-quarantined");
    release(b"not archived").await.assert_problem(404, "not-found");
    let recorded = archive.actions(before).await;
    assert_eq!(recorded.iter().filter(|action| *action == "quarantine.release").count(), 4, "{recorded:?}");
    // It is mail like any other, before and after.
    archive.wait_found("*", 3).await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let mut archive = Archive::permitting().await;
    archive.archive(&[FIRST]).await;
    archive.quarantine("acme/mx2", &[SECOND]).await;
    archive.trust.take().unwrap().shutdown().await;
    let reason = json!({ "reason": "x" });
    for answer in [
        archive.hold(json!({ "reason": "x", "messages": [id(FIRST)] })).await,
        archive.hold(json!({ "reason": "x", "query": "*" })).await,
        archive.release("case-1").await,
        archive.shred(&[FIRST]).await,
        archive.post(&format!("{QUARANTINE}{}/release", id(SECOND)), &reason).await,
        archive.post("/api/v1/expiry/runs", &json!({ "plan": "{}\n" })).await,
        archive.post("/api/v1/expiry/resume", &reason).await,
        archive.get(HOLDS).await,
        archive.get(QUARANTINE).await,
        archive.get("/api/v1/expiry/plan").await,
        archive.get(&format!("{SHREDS}{}", uuid::Uuid::nil())).await,
        archive.get(&format!("/api/v1/archive/emails/{}/shred-certificate", id(FIRST))).await,
    ] {
        answer.assert_problem(503, "unavailable");
        assert!(!answer.text().contains(&id(SECOND)), "{answer:?}");
    }
    for table in ["ingest.hold", "ingest.shred", "ingest.act"] {
        let sql = format!("select count(*) from {table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&archive.pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn another_tenant_sees_and_touches_nothing_of_it() {
    let mut archive = Archive::permitting().await;
    archive.archive(&[FIRST, SECOND]).await;
    archive.quarantine("acme/mx2", &[THIRD]).await;
    archive.hold(json!({ "hold": "case-1", "reason": "secret reason", "messages": [id(FIRST)] })).await;
    let shred = archive.shred(&[SECOND]).await.json()["shred"].as_str().unwrap().to_owned();
    archive.wait_shredded(&shred).await;

    let own = archive.token.clone();
    archive.token = Gateway::issue_token(&archive.pool, &tenant("other"), &SystemClock).await.unwrap();
    assert_eq!(archive.get(&format!("{HOLDS}?released=true")).await.json(), json!({ "holds": [] }));
    assert_eq!(archive.get(QUARANTINE).await.json(), json!({ "messages": [] }));
    for answer in [
        archive.get(&format!("{SHREDS}{shred}")).await,
        archive.get(&format!("/api/v1/archive/emails/{}/shred-certificate", id(SECOND))).await,
        archive.shred(&[FIRST]).await,
        archive.hold(json!({ "reason": "x", "messages": [id(FIRST)] })).await,
        archive.hold(json!({ "reason": "x", "query": "*" })).await,
        archive.release("case-1").await,
        archive.post(&format!("{QUARANTINE}{}/release", id(THIRD)), &json!({ "reason": "x" })).await,
    ] {
        answer.assert_problem(404, "not-found");
    }
    // For its owner all of it is still there.
    archive.token = own;
    assert_eq!(archive.held_by("").await, ["case-1"]);
    assert_eq!(archive.get(QUARANTINE).await.json()["messages"][0]["id"], id(THIRD));
}

#[tokio::test]
async fn acts_have_a_form_and_limits() {
    let archive = Archive::start().await;
    let unknown = |count: usize| (0..count).map(|n| id(&n.to_be_bytes())).collect::<Vec<_>>();
    let hold = |reason: &str, count: usize| json!({ "reason": reason, "messages": unknown(count) });
    let shred = |reason: &str, count: usize| json!({ "reason": reason, "messages": unknown(count) });
    let longest = "x".repeat(REASON_BYTES_MAX);
    let release = format!("{HOLDS}case-1/release");
    let quarantine = format!("{QUARANTINE}{}/release", id(b"not archived"));
    let reason = |reason: &str| json!({ "reason": reason });
    // What fits is asked of the catalogue, which has no such mail.
    for (path, body) in [
        (HOLDS, hold(&longest, HOLD_MESSAGES_MAX)),
        (SHREDS, shred(&longest, SHRED_MESSAGES_MAX)),
        (&release, reason(&longest)),
        (&quarantine, reason(&longest)),
    ] {
        archive.post(path, &body).await.assert_problem(404, "not-found");
    }
    archive.post("/api/v1/expiry/resume", &reason(&longest)).await.assert_problem(409, "not-suspended");
    let too_long = "x".repeat(REASON_BYTES_MAX + 1);
    for (path, body) in [
        (HOLDS, hold("x", HOLD_MESSAGES_MAX + 1)),
        (HOLDS, hold("x", 0)),
        (HOLDS, hold(&too_long, 1)),
        (HOLDS, hold("\n", 1)),
        (HOLDS, hold("x\0", 1)),
        (HOLDS, json!({ "reason": "x" })),
        (HOLDS, json!({ "reason": "x", "query": "*", "messages": unknown(1) })),
        (HOLDS, json!({ "reason": "x", "messages": ["sha256:12"] })),
        (HOLDS, json!({ "reason": "x", "query": "*", "hold": "Case 1" })),
        (HOLDS, json!({ "reason": "x", "query": "*", "tenant": "other" })),
        (HOLDS, json!({ "query": "*" })),
        (SHREDS, shred("x", SHRED_MESSAGES_MAX + 1)),
        (SHREDS, shred("x", 0)),
        (SHREDS, shred(&too_long, 1)),
        (SHREDS, shred("", 1)),
        (SHREDS, json!({ "reason": "x", "messages": unknown(1), "shred": "mine" })),
        (SHREDS, json!({ "reason": "x", "messages": unknown(1), "cause": "expiry" })),
        (&release, reason(&too_long)),
        (&release, json!({})),
        (&format!("{HOLDS}Case%201/release"), reason("x")),
        (&quarantine, reason(&too_long)),
        (&format!("{QUARANTINE}first/release"), reason("x")),
        ("/api/v1/expiry/resume", reason(&too_long)),
        ("/api/v1/expiry/runs", json!({ "plan": "no plan" })),
        ("/api/v1/expiry/runs", json!({})),
    ] {
        archive.post(path, &body).await.assert_problem(400, "invalid-request");
    }
    for (path, within) in [
        (format!("{QUARANTINE}?limit={QUARANTINE_LIST_MAX}"), true),
        (format!("{QUARANTINE}?limit={}", QUARANTINE_LIST_MAX + 1), false),
        (format!("{QUARANTINE}?limit=0"), false),
        (format!("{QUARANTINE}?after=first"), false),
        (format!("/api/v1/expiry/plan?limit={EXPIRY_PLAN_MESSAGES_MAX}"), true),
        (format!("/api/v1/expiry/plan?limit={}", EXPIRY_PLAN_MESSAGES_MAX + 1), false),
        ("/api/v1/expiry/plan?limit=0".to_owned(), false),
        ("/api/v1/expiry/plan?at=tomorrow".to_owned(), false),
        ("/api/v1/expiry/plan?after=first".to_owned(), false),
        (format!("{HOLDS}?message=first"), false),
        (format!("{HOLDS}?unknown=1"), false),
    ] {
        let answer = archive.get(&path).await;
        if within {
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        } else {
            answer.assert_problem(400, "invalid-request");
        }
    }
    let query = |bytes: usize| json!({ "reason": "x", "query": "x".repeat(bytes) });
    archive.hold(query(QUERY_BYTES_MAX)).await.assert_problem(404, "not-found");
    archive.hold(query(QUERY_BYTES_MAX + 1)).await.assert_problem(413, "too-large");
}

#[tokio::test]
async fn only_what_names_many_mails_may_be_large() {
    let archive = Archive::start().await;
    let raw = async |path: &str, bytes: usize| {
        let request = archive.request("POST", path).header(header::CONTENT_TYPE, "application/json");
        archive.call(request.body(Body::from(" ".repeat(bytes))).unwrap()).await
    };
    for (path, bytes_max) in [
        (HOLDS, LARGE_BODY_BYTES_MAX),
        ("/api/v1/expiry/runs", LARGE_BODY_BYTES_MAX),
        (SHREDS, BODY_BYTES_MAX),
        ("/api/v1/expiry/resume", BODY_BYTES_MAX),
        ("/api/v1/holds/case-1/release", BODY_BYTES_MAX),
    ] {
        raw(path, bytes_max).await.assert_problem(400, "invalid-request");
        raw(path, bytes_max + 1).await.assert_problem(413, "too-large");
    }
}

/// What a query does not find, its hold does not keep: so the index must have everything first.
#[tokio::test]
async fn a_hold_by_query_waits_for_the_index_and_is_refused_while_mail_is_missing_in_it() {
    let archive = Archive::permitting().await;
    archive.archive(&[FIRST, SECOND]).await;
    let by_query = json!({ "reason": "court of Basel", "query": "subject:zeppelin" });
    // As after a rebuild: a mail waits for the index, and its job is not due for long.
    let waits = "insert into jobs.job (kind, tenant, payload, unique_key, run_at)
         values ('index', 'acme', '{}', 'late', now() + interval '1 hour')";
    sqlx::raw_sql(waits).execute(&archive.pool).await.unwrap();
    archive.hold(by_query.clone()).await.assert_problem(503, "unavailable");
    let named = json!({ "reason": "court of Basel", "messages": [id(FIRST)] });
    assert_eq!(archive.hold(named).await.json()["messages"], 1, "mail that is named needs no index");
    let dies = "update jobs.job set state = 'dead' where unique_key = 'late'";
    sqlx::raw_sql(dies).execute(&archive.pool).await.unwrap();
    let held = archive.hold(by_query).await.json();
    assert_eq!((&held["messages"], &held["unindexed"]), (&json!(2), &json!(1)), "{held}");

    // An index that was lost and is filled again finds everything or nothing.
    archive.replace_index().await;
    let begun = tokio::time::Instant::now();
    loop {
        let answer = archive.hold(json!({ "reason": "x", "query": "*" })).await;
        assert!(begun.elapsed() < WAIT_MAX, "the index is not filled");
        if answer.status == 200 {
            assert_eq!(answer.json()["messages"], 2);
            break;
        }
        answer.assert_problem(503, "unavailable");
    }
}
