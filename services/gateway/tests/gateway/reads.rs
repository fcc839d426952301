use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use openarchive_domain::Digest;
use openarchive_ledger::{
    commitment::{Field, Salt},
    leaf::AuditLeaf,
    receipt::verify_receipt,
};
use openarchive_testkit::sample_mail::Numbers;
use serde_json::{Value, json};

use crate::archive::{Archive, tenant};

const FIRST: &[u8] =
    b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: zeppelin report\r\n\
    Date: Wed, 01 May 2024 12:00:00 +0200\r\nMessage-ID: <1@example.org>\r\n\r\nthe airship flies\r\n";
/// Who read at the same moment.
const READERS: i64 = 100;
const SECOND: &[u8] =
    b"From: carol@example.org\r\nTo: bob@example.org\r\nSubject: lunch\r\n\r\nsoup again\r\n";

#[tokio::test]
async fn mail_is_found_read_byte_for_byte_and_proven_and_each_read_is_a_leaf_that_opens() {
    let archive = Archive::start().await;
    archive.archive(&[FIRST, SECOND]).await;
    let id = Digest::of(FIRST);
    let before = archive.audit_size().await;

    let found = archive.post("/api/v1/search/emails/", &json!({ "query": "subject:zeppelin" })).await;
    let answer = found.json();
    assert_eq!((&answer["total"], answer["results"].as_array().unwrap().len()), (&json!(1), 1), "{found:?}");
    let hit = &answer["results"][0];
    assert_eq!(hit["id"], id.to_string());
    assert_eq!((&hit["subject"], &hit["length"]), (&json!("zeppelin report"), &json!(FIRST.len())));
    assert_eq!(hit["date"], "2024-05-01T10:00:00.000Z");
    assert!(hit["archived_at"].is_string() && answer.get("next_cursor").is_none(), "{answer}");

    let described = archive.get(&format!("/api/v1/archive/emails/{id}/")).await.json();
    let seen = &described["observations"][0];
    assert_eq!((&seen["agent"], &seen["seq"], &seen["state"]), (&json!("mx1"), &json!(1), &json!("stored")));
    assert_eq!(seen["agent_epoch"], (u64::MAX - 1).to_string());
    assert_eq!(seen["envelope"]["to"], json!(["bob@example.org", "hidden@example.org"]));

    let mail = archive.get(&format!("/api/v1/archive/emails/{id}/eml")).await;
    assert_eq!(mail.body, FIRST);
    assert_eq!(mail.header("content-type"), "message/rfc822");
    assert_eq!(mail.header("content-length"), FIRST.len().to_string());
    assert_eq!(mail.header("content-disposition"), format!("attachment; filename=\"{}.eml\"", id.hex()));
    assert_eq!(mail.header("x-content-type-options"), "nosniff");
    assert_eq!(mail.header("cache-control"), "no-store");
    assert!(mail.header("repr-digest").starts_with("sha-256=:"));

    let text = archive.get(&format!("/api/v1/archive/emails/{id}/text")).await;
    assert!(text.text().starts_with("From: Alice <alice@example.org>\n"), "{text:?}");
    assert!(text.text().ends_with("\n\nthe airship flies\n"), "{text:?}");

    let policy = archive.trust.as_ref().unwrap().policy_for(&tenant("acme"));
    for which in ["", "?agent=mx1", "?seq=1&agent=mx1"] {
        let proof = archive.get(&format!("/api/v1/archive/emails/{id}/proof{which}")).await;
        let verified = verify_receipt(proof.text(), Some(&policy), &id).unwrap();
        assert_eq!(verified.leaf.seat.seq, 1);
    }
    archive
        .get(&format!("/api/v1/archive/emails/{id}/proof?agent=mx2"))
        .await
        .assert_problem(404, "not-found");

    let complete = archive.get("/api/v1/completeness/?agent=mx1&day=2024-05-01").await.json();
    assert_eq!((&complete["rows"][0]["stored"], &complete["rows"][0]["gaps"]), (&json!(2), &json!([])));
    assert_eq!(archive.get("/api/v1/agents/").await.status, 200);
    assert_eq!(archive.get("/api/v1/jobs/").await.json()["dead"], 0);
    archive.post("/api/v1/jobs/999/retry", &json!({})).await.assert_problem(404, "not-found");
    // A checkpoint says nothing of any mail.
    let checkpoint = archive.get("/api/v1/trust/checkpoint?stream=audit").await.json();
    assert_eq!(checkpoint["origin"], "archive.example/test/acme/audit/1");

    let expected = [
        "search",
        "message.view",
        "message.read",
        "message.text",
        "message.proof",
        "message.proof",
        "message.proof",
        "message.proof",
        "completeness.read",
        "agents.list",
        "jobs.list",
        "jobs.retry",
    ];
    assert_eq!(archive.actions(before).await, expected);
    assert_opens(&archive, before, &["subject:zeppelin", &id.to_string(), "agent=mx1 day=2024-05-01", "999"])
        .await;
}

/// Every leaf from this index on is opened by its record, and these are among what they open to.
async fn assert_opens(archive: &Archive, from: i64, objects: &[&str]) {
    let rows = sqlx::query!(
        "select body, object as \"object?\", salt as \"salt?\", token_id as \"token_id?\", request as \"request?\" from trust.leaf
           join trust.log using (log_id)
           left join gateway.audit_record on audit_record.tenant = log.tenant and audit_record.leaf_index = leaf.leaf_index
         where log.tenant = 'acme' and stream = 'audit' and leaf.leaf_index >= $1",
        from
    );
    let mut opened = BTreeSet::new();
    for row in rows.fetch_all(&archive.pool).await.unwrap() {
        let object = row.object.expect("every leaf has a record");
        let leaf = AuditLeaf::parse(&row.body).unwrap().leaf;
        let salt = Salt::new(row.salt.unwrap().try_into().unwrap());
        assert_eq!(leaf.object, Some(salt.commit(Field::Object, object.clone().into_bytes()).0));
        assert_eq!((leaf.actor, leaf.request), (row.token_id.unwrap(), row.request.unwrap()));
        opened.insert(object);
    }
    for object in objects {
        assert!(opened.contains(*object), "{object} is not among {opened:?}");
    }
}

/// Leaves of the audit log of `acme` from this index on, and the commits that made them durable.
async fn leaves_and_commits(archive: &Archive, from: i64) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), count(distinct leaf.xmin::text) from trust.leaf join trust.log using (log_id)
         where tenant = 'acme' and stream = 'audit' and leaf_index >= $1",
    )
    .bind(from)
    .fetch_one(&archive.pool)
    .await
    .unwrap()
}

/// Ends the transaction once somebody waits for its lock and nobody else has been doing anything for a few looks, so that
/// those who will wait do wait; in any case long before an append gives up.
async fn release_once_quiet(archive: &Archive, held: sqlx::Transaction<'static, sqlx::Postgres>) {
    const QUIET_LOOKS: u32 = 8;
    let begun = tokio::time::Instant::now();
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && begun.elapsed() < Duration::from_secs(5) {
        let (waiting, busy): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where wait_event_type = 'Lock'),
                    count(*) filter (where wait_event_type is distinct from 'Lock')
             from pg_stat_activity
             where state = 'active' and backend_type = 'client backend' and pid <> pg_backend_pid()",
        )
        .fetch_one(&archive.pool)
        .await
        .unwrap();
        quiet = if waiting > 0 && busy == 0 { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    held.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaves_of_a_hundred_readers_at_once_share_their_commits() {
    let archive = Archive::start().await;
    archive.archive(&[FIRST]).await;
    let eml = format!("/api/v1/archive/emails/{}/eml", Digest::of(FIRST));
    // Whoever reads alone has a commit alone, as all would have who queue on one lock.
    let before = archive.audit_size().await;
    for _ in 0..10 {
        assert_eq!(archive.get(&eml).await.body, FIRST);
    }
    assert_eq!(leaves_and_commits(&archive, before).await, (10, 10));

    let before = archive.audit_size().await;
    let mut held = archive.pool.begin().await.unwrap();
    sqlx::query("lock table trust.leaf in share mode").execute(&mut *held).await.unwrap();
    let readers = join_all((0..READERS).map(|_| archive.get(&eml)));
    let (answers, ()) = tokio::join!(readers, release_once_quiet(&archive, held));
    for answer in answers {
        assert_eq!(answer.body, FIRST, "{answer:?}");
    }
    let (leaves, commits) = leaves_and_commits(&archive, before).await;
    println!("{leaves} leaves of {READERS} readers at once in {commits} commits");
    assert_eq!(leaves, READERS);
    // Two, where all stood and waited; on a busy machine some come later.
    assert!(commits * 2 <= leaves, "{commits} commits of {leaves} leaves");
}

#[tokio::test]
async fn the_audit_list_shows_the_newest_or_what_follows_and_objects_only_when_asked() {
    let archive = Archive::start().await;
    assert_eq!(archive.get("/api/v1/audit/").await.json(), json!({ "size": 0, "leaves": [] }));
    for word in ["one", "two", "three"] {
        archive.post("/api/v1/search/emails/", &json!({ "query": word })).await;
    }
    // Leaf 0 opens the log; leaf 1 is the list above.
    let list = async |parameters: &str| archive.get(&format!("/api/v1/audit/{parameters}")).await;
    let newest = list("?limit=2").await;
    let leaves = newest.json()["leaves"].clone();
    assert_eq!(newest.json()["size"], 5);
    assert_eq!((&leaves[0]["index"], &leaves[1]["index"]), (&json!(3), &json!(4)));
    assert_eq!((&leaves[1]["action"], &leaves[1]["leaf"]["kind"]), (&json!("search"), &json!("audit")));
    assert!(leaves[1].get("object").is_none() && !newest.text().contains("three"), "{newest:?}");

    let opened = list("?after=1&limit=2&objects=true").await.json();
    let objects: Vec<&Value> =
        opened["leaves"].as_array().unwrap().iter().map(|leaf| &leaf["object"]).collect();
    assert_eq!(objects, ["one", "two"]);
    assert_eq!(list("?after=1000").await.json()["leaves"], json!([]));
    for bad in ["?limit=0", "?limit=1001", "?after=-1", "?unknown=1"] {
        list(bad).await.assert_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn pages_of_a_search_show_each_hit_once_and_a_large_mail_streams_whole() {
    let archive = Archive::start().await;
    let large = [
        b"From: a@example.org\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf\r\n\
          Content-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            .as_slice(),
        &Numbers::seeded(7)
            .bytes(3_000_000)
            .into_iter()
            .filter(|b| !matches!(b, 0 | b'\r' | b'\n'))
            .collect::<Vec<_>>(),
        b"\r\n",
    ]
    .concat();
    let small: Vec<Vec<u8>> =
        (0..9).map(|n| format!("Subject: mail {n}\r\n\r\ntext {n}\r\n").into_bytes()).collect();
    let mut mails: Vec<&[u8]> = small.iter().map(Vec::as_slice).collect();
    mails.push(&large);
    archive.archive(&mails).await;

    let (mut seen, mut cursor) = (BTreeSet::new(), Value::Null);
    loop {
        let body = json!({ "query": "*", "limit": 3, "cursor": cursor });
        let page = archive.post("/api/v1/search/emails/", &body).await.json();
        assert_eq!(page["total"], 10);
        for hit in page["results"].as_array().unwrap() {
            assert!(seen.insert(hit["id"].as_str().unwrap().to_owned()), "shown twice: {hit}");
        }
        let Some(next) = page.get("next_cursor") else { break };
        cursor = next.clone();
    }
    assert_eq!(seen, mails.iter().map(|mail| Digest::of(mail).to_string()).collect());
    let answer = archive.get(&format!("/api/v1/archive/emails/{}/eml", Digest::of(&large))).await;
    assert!(answer.body == large, "{} bytes of {}", answer.body.len(), large.len());
}

#[tokio::test]
async fn an_agent_is_shown_with_the_end_of_the_certificate_that_it_reported_with() {
    let archive = Archive::start().await;
    let insert =
        "insert into ingest.agent (tenant, agent, instance, agent_epoch, announced_seq, buffered_messages,
        version, last_seen, certificate_not_after)
        values ('acme', $1, gen_random_uuid(), 1, 1, 0, '0.1.0', 0, $2)";
    for (name, not_after) in [("with", Some(1_717_056_000_000_i64)), ("without", None)] {
        sqlx::query(insert).bind(name).bind(not_after).execute(&archive.pool).await.unwrap();
    }
    let answer = archive.get("/api/v1/agents/").await.json();
    let agents = answer["agents"].as_array().unwrap();
    let of = |name: &str| agents.iter().find(|agent| agent["agent"] == name).unwrap();
    assert_eq!(of("with")["certificate_not_after"], "2024-05-30T08:00:00.000Z");
    assert_eq!(of("without").get("certificate_not_after"), None);
}
