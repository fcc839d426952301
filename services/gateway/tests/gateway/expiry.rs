//! Expiry, as people reach it: a plan that they read, and a run that follows it exactly.

use std::{collections::BTreeSet, sync::Arc};

use openarchive_domain::{Clock as _, FixedClock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::{
    archive::Archive,
    governance::{SHREDS, id},
};

const PLAN: &str = "/api/v1/expiry/plan";
const RUNS: &str = "/api/v1/expiry/runs";
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

const FIRST: &[u8] = b"From: alice@example.org\r\nSubject: one\r\n\r\nfirst\r\n";
const SECOND: &[u8] = b"From: bob@example.org\r\nSubject: two\r\n\r\nsecond\r\n";
const HELD: &[u8] = b"From: carol@example.org\r\nSubject: three\r\n\r\nthird\r\n";
const LATER: &[u8] = b"From: dave@example.org\r\nSubject: four\r\n\r\nlater\r\n";

/// An archive whose mail is kept for two days, and its clock.
async fn archive() -> (Archive, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let class = "2d-received-permitted".parse().unwrap();
    (Archive::start_keeping(class, clock.clone(), |trust| trust).await, clock)
}

fn pass(clock: &FixedClock, days: i64) {
    clock.set(Timestamp::from_millis(clock.now().as_millis() + days * DAY_MILLIS));
}

async fn run(archive: &Archive, plan: &str) -> crate::archive::Answer {
    archive.post(RUNS, &json!({ "plan": plan })).await
}

/// Ids of all orders' mail, once their keys are gone.
async fn shredded(archive: &Archive, done: &Value) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    for order in done["orders"].as_array().unwrap() {
        let order = archive.wait_shredded(order["shred"].as_str().unwrap()).await;
        assert_eq!(order["cause"], "expiry");
        gone.extend(order["messages"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    gone
}

#[tokio::test]
async fn a_run_shreds_what_its_plan_says_and_nothing_else_however_often_it_is_run() {
    let (archive, clock) = archive().await;
    archive.archive(&[FIRST, SECOND, HELD]).await;
    archive.hold(json!({ "hold": "case-1", "reason": "court", "messages": [id(HELD)] })).await;
    let before = archive.audit_size().await;
    let early = archive.get(PLAN).await.json();
    assert_eq!((&early["lines"], &early["expiring"]), (&json!(0), &json!(0)), "{early}");
    assert!(early.get("suspended_at").is_none() && early.get("next").is_none(), "{early}");

    // What will expire can be read ahead of time, and not be run.
    let ahead = Timestamp::from_millis(clock.now().as_millis() + 3 * DAY_MILLIS);
    let ahead = archive.get(&format!("{PLAN}?at={ahead}")).await.json();
    assert_eq!((&ahead["lines"], &ahead["expiring"]), (&json!(3), &json!(2)), "{ahead}");
    run(&archive, ahead["plan"].as_str().unwrap()).await.assert_problem(409, "plan-early");
    archive.wait_found("*", 3).await;

    pass(&clock, 3);
    let made = archive.get(PLAN).await.json();
    assert_eq!((&made["lines"], &made["expiring"]), (&json!(3), &json!(2)), "{made}");
    let plan = made["plan"].as_str().unwrap();
    for mail in [FIRST, SECOND, HELD] {
        assert!(plan.contains(&id(mail)), "a person sees each mail: {plan}");
    }
    assert!(plan.contains("case-1") && plan.contains("2d-received-permitted"), "{plan}");
    assert!(!plan.contains("example.org") && !plan.contains("Subject"), "no content: {plan}");
    // Mail that comes between plan and run is not touched.
    archive.archive_as("acme/mx2", &["bob@example.org"], &[LATER]).await;
    let done = run(&archive, plan).await.json();
    assert_eq!(done["messages"], 2, "{done}");
    assert_eq!(shredded(&archive, &done).await, BTreeSet::from([id(FIRST), id(SECOND)]));
    for gone in [FIRST, SECOND] {
        archive.assert_unreadable(gone).await;
    }
    for kept in [HELD, LATER] {
        assert_eq!(archive.get(&format!("/api/v1/archive/emails/{}/eml", id(kept))).await.body, kept);
    }
    assert_eq!(run(&archive, plan).await.json(), done, "the same plan again is the same orders");
    archive.wait_found("*", 2).await;
    let recorded = archive.actions(before).await;
    assert_eq!(recorded.iter().filter(|action| *action == "expiry.plan").count(), 3, "{recorded:?}");
    assert_eq!(recorded.iter().filter(|action| *action == "expiry.run").count(), 3, "{recorded:?}");
}

#[tokio::test]
async fn a_plan_that_was_changed_or_no_longer_holds_shreds_nothing() {
    let (archive, clock) = archive().await;
    archive.archive(&[FIRST, SECOND, HELD]).await;
    pass(&clock, 3);
    let plan = archive.get(PLAN).await.json()["plan"].as_str().unwrap().to_owned();
    let without_a_line: String =
        plan.lines().filter(|line| !line.contains(&id(FIRST))).collect::<Vec<_>>().join("\n");
    let changed = [
        plan.replace(&id(FIRST), &id(LATER)),
        without_a_line + "\n",
        plan.replacen("2d-", "3d-", 1),
        format!("{plan}\n"),
        plan.trim_end().to_owned(),
        String::new(),
    ];
    for changed in changed {
        run(&archive, &changed).await.assert_problem(400, "invalid-request");
    }
    archive.hold(json!({ "reason": "court", "messages": [id(HELD)] })).await;
    run(&archive, &plan).await.assert_problem(409, "plan-changed");
    archive.wait_found("*", 3).await;
    let orders: i64 =
        sqlx::query_scalar("select count(*) from ingest.shred").fetch_one(&archive.pool).await.unwrap();
    assert_eq!(orders, 0, "none of it was ordered");
}

#[tokio::test]
async fn after_a_rebuild_nothing_is_shredded_until_somebody_lifts_the_suspension() {
    let (archive, clock) = archive().await;
    archive.archive(&[FIRST]).await;
    pass(&clock, 3);
    let plan = archive.get(PLAN).await.json()["plan"].as_str().unwrap().to_owned();
    // As a rebuild does.
    sqlx::query("insert into ingest.suspension (tenant, suspended_at) values ('acme', 1700000000000)")
        .execute(&archive.pool)
        .await
        .unwrap();
    assert_eq!(archive.get(PLAN).await.json()["suspended_at"], "2023-11-14T22:13:20.000Z");
    run(&archive, &plan).await.assert_problem(409, "suspended");
    let order = json!({ "messages": [id(FIRST)], "reason": "x" });
    archive.post(SHREDS, &order).await.assert_problem(409, "suspended");
    let before = archive.audit_size().await;
    let resume = json!({ "reason": "the holds are all there" });
    assert!(archive.post("/api/v1/expiry/resume", &resume).await.json()["leaf_index"].is_u64());
    archive.post("/api/v1/expiry/resume", &resume).await.assert_problem(409, "not-suspended");
    assert_eq!(archive.actions(before).await, ["expiry.resume", "expiry.resume"]);
    let done = run(&archive, &plan).await.json();
    assert_eq!(shredded(&archive, &done).await, BTreeSet::from([id(FIRST)]));
}
