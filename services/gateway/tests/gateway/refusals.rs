use std::time::Duration;

use axum::{body::Body, http::header};
use openarchive_domain::{Digest, SystemClock};
use openarchive_gateway::{BODY_BYTES_MAX, Gateway, QUERY_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use openarchive_trust::TrustConfig;
use serde_json::json;

use crate::archive::{Answer, Archive, WAIT_MAX, tenant};

const MAIL: &[u8] = b"From: alice@example.org\r\nSubject: secret plans\r\n\r\nthe hidden text\r\n";
const SEARCH: &str = "/api/v1/search/emails/";

#[tokio::test]
async fn without_a_valid_token_there_is_nothing_and_a_token_sees_its_own_tenant_only() {
    let mut archive = Archive::start().await;
    archive.archive(&[MAIL]).await;
    let eml = format!("/api/v1/archive/emails/{}/eml", Digest::of(MAIL));
    let before = archive.audit_size().await;
    let bare = |path: &str| axum::http::Request::builder().uri(path).body(Body::empty()).unwrap();
    let refused = archive.call(bare(&eml)).await;
    refused.assert_problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert_eq!(archive.call(bare("/api/v1/health")).await.json(), json!({ "status": "ok", "down": [] }));
    assert_eq!(archive.call(bare("/api/v1/openapi.json")).await.json()["openapi"], "3.1.0");
    assert_eq!(archive.audit_size().await, before);

    let own = archive.token.clone();
    assert_eq!(
        Gateway::ensure_first_token(&archive.pool, &tenant("acme"), &SystemClock).await.unwrap(),
        None
    );
    archive.token = Gateway::issue_token(&archive.pool, &tenant("other"), &SystemClock).await.unwrap();
    archive.get(&eml).await.assert_problem(404, "not-found");
    assert_eq!(archive.post(SEARCH, &json!({ "query": "*" })).await.json()["total"], 0);
    assert_eq!(archive.audit_size().await, before, "another tenant's reads stand in that tenant's log");

    archive.token = own;
    let token = Gateway::list_tokens(&archive.pool, &tenant("acme")).await.unwrap().remove(0);
    assert_eq!(token.revoked_at, None);
    let revoke = async |owner: &str, id: &str| {
        Gateway::revoke_token(&archive.pool, &tenant(owner), id, &SystemClock).await.unwrap()
    };
    assert!(!revoke("other", &token.id).await, "a token is its own tenant's");
    assert!(!revoke("acme", "token-0").await);
    assert!(archive.get(&eml).await.status.is_success());
    assert!(revoke("acme", &token.id).await && revoke("acme", &token.id).await);
    assert!(Gateway::list_tokens(&archive.pool, &tenant("acme")).await.unwrap()[0].revoked_at.is_some());
    archive.get(&eml).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn what_is_not_there_was_still_asked_for() {
    let archive = Archive::start().await;
    let absent = Digest::of(b"absent");
    for (view, action) in
        [("", "message.view"), ("eml", "message.read"), ("text", "message.text"), ("proof", "message.proof")]
    {
        let before = archive.audit_size().await;
        archive
            .get(&format!("/api/v1/archive/emails/{absent}/{view}"))
            .await
            .assert_problem(404, "not-found");
        // The first leaf of a log opens it and has no action.
        assert_eq!(archive.actions(before).await, [action]);
    }
    let before = archive.audit_size().await;
    archive.post(SEARCH, &json!({ "query": "(" })).await.assert_problem(400, "invalid-request");
    assert_eq!(archive.actions(before).await, ["search"]);
}

#[tokio::test]
async fn one_request_id_is_one_read_and_cannot_hide_another() {
    let archive = Archive::start().await;
    archive.archive(&[MAIL]).await;
    let eml = format!("/api/v1/archive/emails/{}/eml", Digest::of(MAIL));
    let call = async |id: &str| {
        let request = archive.request("GET", &eml).header("x-request-id", id).body(Body::empty()).unwrap();
        archive.call(request).await
    };
    let own = "x".repeat(REQUEST_ID_BYTES_MAX);
    let first = call(&own).await;
    assert_eq!((first.body.as_ref(), first.header("x-request-id")), (MAIL, own.as_str()));
    let again = call(&own).await;
    again.assert_problem(409, "request-id-used");
    assert_eq!(again.header("x-request-id"), own);
    for malformed in ["a b", "a@b", &"x".repeat(REQUEST_ID_BYTES_MAX + 1)] {
        let answer = call(malformed).await;
        assert_eq!((answer.body.as_ref(), answer.header("x-request-id").len()), (MAIL, 36));
    }
}

#[tokio::test]
async fn with_the_sequencer_stopped_no_read_is_answered() {
    let mut archive = Archive::start().await;
    archive.archive(&[MAIL]).await;
    for answer in read_everything(&archive).await {
        assert!(answer.status.is_success(), "{answer:?}");
    }
    archive.trust.take().unwrap().shutdown().await;
    for answer in read_everything(&archive).await {
        assert_withheld(&answer);
    }
}

/// What each read answers that a person can ask for.
async fn read_everything(archive: &Archive) -> Vec<Answer> {
    let id = Digest::of(MAIL);
    let mut answers = Vec::new();
    for highlight in [false, true] {
        answers.push(archive.post(SEARCH, &json!({ "query": "secret", "highlight": highlight })).await);
    }
    for path in [
        &format!("/api/v1/archive/emails/{id}/"),
        &format!("/api/v1/archive/emails/{id}/eml"),
        &format!("/api/v1/archive/emails/{id}/text"),
        &format!("/api/v1/archive/emails/{id}/proof"),
        "/api/v1/completeness/",
        "/api/v1/audit/",
        "/api/v1/agents/",
        "/api/v1/jobs/",
    ] {
        answers.push(archive.get(path).await);
    }
    answers
}

fn assert_withheld(answer: &Answer) {
    answer.assert_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert!(!answer.text().contains("secret") && !answer.text().contains("hidden"), "{answer:?}");
}

#[tokio::test]
async fn while_the_checkpoints_of_the_audit_log_stall_no_read_is_answered() {
    const STALLED_AFTER: Duration = Duration::from_secs(1);
    let archive = Archive::start_with(|trust| TrustConfig { stalled_after: STALLED_AFTER, ..trust }).await;
    archive.archive(&[MAIL]).await;
    // Leaves are appended as ever; no checkpoint can be.
    let mut stall = archive.pool.begin().await.unwrap();
    sqlx::query("lock table trust.checkpoint in exclusive mode").execute(&mut *stall).await.unwrap();
    let eml = format!("/api/v1/archive/emails/{}/eml", Digest::of(MAIL));
    assert_eq!(archive.get(&eml).await.body.as_ref(), MAIL, "a checkpoint may be late");
    let health = archive.trust.as_ref().unwrap().health();
    let begun = tokio::time::Instant::now();
    while health.oldest_unpublished_age("audit").is_none_or(|age| age <= STALLED_AFTER) {
        assert!(begun.elapsed() < WAIT_MAX, "{:?}", health.now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = archive.audit_size().await;
    for answer in read_everything(&archive).await {
        assert_withheld(&answer);
    }
    assert_eq!(archive.audit_size().await, before);

    stall.rollback().await.unwrap();
    while archive.get(&eml).await.status == 503 {
        assert!(begun.elapsed() < WAIT_MAX, "{:?}", health.now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for answer in read_everything(&archive).await {
        assert!(answer.status.is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_dies_after_the_leaf_leaves_a_leaf_and_no_answer() {
    let archive = Archive::start().await;
    archive.archive(&[MAIL]).await;
    // The step after the leaf fails, as it would if the process died there.
    sqlx::query!("alter table gateway.audit_record rename to audit_record_away")
        .execute(&archive.pool)
        .await
        .unwrap();
    let before = archive.audit_size().await;
    let answer = archive.get(&format!("/api/v1/archive/emails/{}/eml", Digest::of(MAIL))).await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(archive.actions(before).await, ["message.read"]);
}

#[tokio::test]
async fn requests_have_a_form_and_limits() {
    let archive = Archive::start().await;
    let long = |bytes: usize| json!({ "query": format!("\"{}\"", "x".repeat(bytes - 2)) });
    assert_eq!(archive.post(SEARCH, &long(QUERY_BYTES_MAX)).await.status, 200);
    archive.post(SEARCH, &long(QUERY_BYTES_MAX + 1)).await.assert_problem(413, "too-large");
    for bad in [
        json!({ "query": "x", "limit": 0 }),
        json!({ "query": "x", "limit": 1001 }),
        json!({ "query": "x\u{0}" }),
        json!({ "query": "x", "cursor": "nonsense" }),
        json!({ "query": "x", "unknown": 1 }),
        json!({}),
        json!("x"),
    ] {
        archive.post(SEARCH, &bad).await.assert_problem(400, "invalid-request");
    }
    let raw = async |kind: &str, body: String| {
        let request = archive.request("POST", SEARCH).header(header::CONTENT_TYPE, kind);
        archive.call(request.body(Body::from(body)).unwrap()).await
    };
    raw("application/json", "{".to_owned()).await.assert_problem(400, "invalid-request");
    raw("text/plain", "{}".to_owned()).await.assert_problem(415, "unsupported-media-type");
    raw("application/json", " ".repeat(BODY_BYTES_MAX + 1)).await.assert_problem(413, "too-large");
    raw("application/json", " ".repeat(BODY_BYTES_MAX)).await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/archive/emails/nonsense/").await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/completeness/?day=yesterday").await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/completeness/?agent=A@b").await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/jobs/?state=lost").await.assert_problem(400, "invalid-request");
    archive.post("/api/v1/jobs/first/retry", &json!({})).await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/trust/checkpoint?stream=config").await.assert_problem(400, "invalid-request");
    archive.get("/api/v1/trust/checkpoint?stream=evidence").await.assert_problem(404, "not-found");
    archive.get("/nowhere").await.assert_problem(404, "not-found");
    archive.get(SEARCH).await.assert_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn health_names_what_is_down() {
    let archive = Archive::start().await;
    archive.close_pools().await;
    let answer = archive.get("/api/v1/health").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (503, &json!("down")));
    assert_eq!(answer.json()["down"], json!(["database", "catalogue", "worker"]));
}
