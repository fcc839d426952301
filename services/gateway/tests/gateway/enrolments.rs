use serde_json::json;

use crate::archive::Archive;

const ENROL: &str = "/api/v1/agents/mx7/enrolments";
const REVOKE: &str = "/api/v1/agents/mx7/revocation";

#[tokio::test]
async fn an_agent_is_let_in_by_a_token_and_shut_out_for_good_and_both_are_recorded() {
    let archive = Archive::start().await;
    let before = archive.audit_size().await;
    let made = archive.post(ENROL, &json!({ "hours": 2 })).await;
    let answer = made.json();
    assert_eq!((made.status.as_u16(), &answer["agent"]), (200, &json!("mx7")), "{made:?}");
    assert!(answer["token"].as_str().unwrap().starts_with("oae_"), "{made:?}");
    assert_eq!(made.header("cache-control"), "no-store");
    assert_ne!(archive.post(ENROL, &json!({})).await.json()["token"], answer["token"]);

    let revoked = archive.post(REVOKE, &json!({ "reason": "stolen" })).await.json();
    assert_eq!(revoked["agent"], "mx7");
    assert_eq!(archive.post(REVOKE, &json!({ "reason": "again" })).await.json(), revoked);
    let refused = archive.post(ENROL, &json!({})).await;
    refused.assert_problem(400, "invalid-request");
    assert!(refused.text().contains("another name"), "{refused:?}");
    assert_eq!(
        archive.actions(before).await,
        ["agents.enrol", "agents.enrol", "agents.revoke", "agents.revoke", "agents.enrol"]
    );
}

#[tokio::test]
async fn enrolment_and_revocation_have_a_form_and_limits() {
    let archive = Archive::start().await;
    for (path, body) in [
        (ENROL, json!({ "hours": 169 })),
        (ENROL, json!({ "hours": -1 })),
        (ENROL, json!({ "tenant": "other" })),
        ("/api/v1/agents/MX7/enrolments", json!({})),
        (REVOKE, json!({})),
        (REVOKE, json!({ "reason": " " })),
        (REVOKE, json!({ "reason": "x".repeat(201) })),
    ] {
        archive.post(path, &body).await.assert_problem(400, "invalid-request");
    }
    assert_eq!(archive.post(ENROL, &json!({ "hours": 168 })).await.status, 200);
    assert_eq!(archive.post(REVOKE, &json!({ "reason": "x".repeat(200) })).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let mut archive = Archive::start().await;
    archive.trust.take().unwrap().shutdown().await;
    archive.post(ENROL, &json!({})).await.assert_problem(503, "unavailable");
    archive.post(REVOKE, &json!({ "reason": "stolen" })).await.assert_problem(503, "unavailable");
    for table in ["ingest.enrolment", "ingest.revoked_agent"] {
        let sql = format!("select count(*) from {table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&archive.pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}
