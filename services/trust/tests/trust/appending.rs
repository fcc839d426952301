use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use openarchive_ledger::leaf::{AnyLeaf, FirstLeaf, LEAF_BYTES_MAX, PackLeaf};
use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::trust::v1 as proto;
use openarchive_rpc::has_reason;
use openarchive_trust::{
    LEAVES_PER_CALL_MAX, PROOFS_PER_CALL_MAX, Trust, TrustConfig, leaf_key, sequencer_lock_key,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tonic::Code;

use crate::archive::{
    ARCHIVE, Archive, DOMAIN, WrongClock, all_leaves, append, client, entry, eventually, log, start,
    try_append,
};

const LOG: &str = "acme/evidence";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_at_once_get_one_log_without_gaps() {
    let archive = Archive::new().await;
    let (trust, client) = archive.start().await;
    let callers = (0..100).map(|caller| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let mut indices = Vec::new();
            for round in 0..5 {
                let leaves = append(&mut client, LOG, [caller * 10 + round]).await;
                indices.extend(leaves.iter().map(|leaf| leaf.index));
            }
            // Each caller's own leaves stand in its own order.
            assert!(indices.is_sorted());
            indices
        })
    });
    let mut indices = BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        indices.extend(caller.await.unwrap());
    }
    assert_eq!(indices, (1..=500).collect());
    // Leaves that came together were committed together.
    let commits: i64 = sqlx::query_scalar("select count(distinct xmin::text) from trust.leaf")
        .fetch_one(&archive.pool)
        .await
        .unwrap();
    assert!(commits <= 250, "{commits} commits for 500 leaves");
    let leaves = all_leaves(&mut client.clone(), LOG).await;
    let first = FirstLeaf::parse(&leaves[0].body).unwrap();
    assert_eq!(first.leaf.log_key, archive.verifier("acme/evidence/1"));
    let times: Vec<_> = leaves.iter().map(|leaf| AnyLeaf::parse(&leaf.body).unwrap().time).collect();
    assert!(times.is_sorted());
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_leaf_for_ever() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let callers = (0..20).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { append(&mut client, LOG, [7]).await })
    });
    let mut answers = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        answers.push(caller.await.unwrap());
    }
    let standing = answers[0].clone();
    assert_eq!(standing[0].index, 1);
    assert!(answers.iter().all(|answer| *answer == standing));
    // In one call, twice; and with other content under the same identity.
    let again = append(&mut client, LOG, [7, 8, 7]).await;
    assert_eq!([&again[0], &again[2]], [&standing[0]; 2]);
    let mut other = entry("acme", 7);
    other.body = other.body.replace(r#""version_id":"1""#, r#""version_id":"2""#);
    let request = proto::AppendRequest { log: Some(log(LOG)), entries: vec![other] };
    assert_eq!(client.append(request).await.unwrap().into_inner().leaves, standing);
    assert_eq!(all_leaves(&mut client, LOG).await.len(), 3);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_refused_where_the_log_has_moved() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    append(&mut client, LOG, [1]).await;
    let mut chained = async |n, previous| {
        let entries = vec![proto::AppendEntry { expected_previous: Some(previous), ..entry("acme", n) }];
        client.append(proto::AppendRequest { log: Some(log(LOG)), entries }).await
    };
    for previous in [0, 2, u64::MAX] {
        let refused = chained(2, previous).await.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted);
        assert!(has_reason(&refused, "PREVIOUS_MOVED"));
    }
    let second = chained(2, 1).await.unwrap().into_inner().leaves;
    assert_eq!(second[0].index, 2);
    assert_eq!(chained(2, 1).await.unwrap().into_inner().leaves, second);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_leaf_of_this_log_is_refused_and_limits_hold_on_both_sides() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let with_body = |body: serde_json::Value| proto::AppendEntry {
        idempotency_key: leaf_key::of_body(&body)
            .map_or_else(|_| vec![0; 32], |key| key.as_bytes().to_vec())
            .into(),
        expected_previous: None,
        body: body.to_string(),
    };
    let unstamped = json!({ "kind": "note", "text": "", "v": 1 });
    // `"time":"YYYY-MM-DDTHH:MM:SS.mmmZ",` is added.
    let room = LEAF_BYTES_MAX - unstamped.to_string().len() - 34;
    let text = |bytes: usize| with_body(json!({ "kind": "note", "text": "x".repeat(bytes), "v": 1 }));
    let first = FirstLeaf::parse(&all_after_one(&mut client).await).unwrap().leaf;
    let short_key = proto::AppendEntry { idempotency_key: vec![0; 31].into(), ..entry("acme", 9) };
    let other_key = proto::AppendEntry { idempotency_key: vec![0; 32].into(), ..entry("acme", 9) };
    let half_a_pack = json!({ "kind": PackLeaf::KIND, "pack": "x", "tenant": "acme", "v": 1 });
    let mut check = async |name: &str, entries: Vec<proto::AppendEntry>, reason: Option<&str>| {
        let answer = client.append(proto::AppendRequest { log: Some(log(name)), entries }).await;
        let refused = answer.err();
        assert_eq!(refused.is_some(), reason.is_some(), "{refused:?}");
        if let (Some(refused), Some(reason)) = (refused, reason) {
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(has_reason(&refused, reason), "{refused:?}");
        }
    };
    check(LOG, vec![text(room)], None).await;
    check(LOG, vec![text(room + 1)], Some("LEAF_TOO_LONG")).await;
    let many = |count: usize| (0..count as u64).map(|n| entry("acme", n)).collect::<Vec<_>>();
    check(LOG, many(LEAVES_PER_CALL_MAX), None).await;
    check(LOG, many(LEAVES_PER_CALL_MAX + 1), Some("INVALID")).await;
    for (name, entry) in [
        (LOG, short_key),
        (LOG, other_key),
        (LOG, entry("other", 9)),
        (LOG, with_body(first.body())),
        (LOG, with_body(half_a_pack)),
        (LOG, with_body(json!({ "kind": "note", "time": "now", "v": 1 }))),
        (LOG, with_body(json!({ "kind": "note", "n": 1.5, "v": 1 }))),
        (LOG, with_body(json!([]))),
        (LOG, proto::AppendEntry { body: "{".to_owned(), ..entry("acme", 9) }),
        ("Acme/evidence", entry("acme", 9)),
        ("acme/", entry("acme", 9)),
    ] {
        check(name, vec![entry], Some("INVALID")).await;
    }
    check(LOG, Vec::new(), Some("INVALID")).await;
    check_reading_limits(&mut client).await;
    trust.shutdown().await;
}

/// Leaf 0 of a log that has just been opened.
async fn all_after_one(client: &mut crate::archive::Client) -> Vec<u8> {
    append(client, LOG, [0]).await;
    all_leaves(client, LOG).await[0].body.to_vec()
}

async fn check_reading_limits(client: &mut crate::archive::Client) {
    let mut list = async |start, limit| {
        client.list_leaves(proto::ListLeavesRequest { log: Some(log(LOG)), start, limit }).await
    };
    assert_eq!(list(0, 0).await.unwrap().into_inner().leaves.len(), LEAVES_PER_CALL_MAX);
    assert_eq!(list(0, 1_000).await.unwrap().into_inner().leaves.len(), LEAVES_PER_CALL_MAX);
    assert_eq!(list(0, 1_001).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(list(u64::MAX, 1).await.unwrap().into_inner().leaves, []);
    let mut prove = async |name, indices: Vec<u64>| {
        let request = proto::GetInclusionProofsRequest { log: Some(log(name)), indices };
        client.get_inclusion_proofs(request).await.map(|answer| answer.into_inner().proofs.len())
    };
    let many = |count: usize| (0..count as u64).collect::<Vec<_>>();
    assert_eq!(prove(LOG, many(PROOFS_PER_CALL_MAX)).await.unwrap(), PROOFS_PER_CALL_MAX);
    assert_eq!(prove(LOG, many(PROOFS_PER_CALL_MAX + 1)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(prove(LOG, vec![]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(prove(LOG, vec![1_000_000]).await.unwrap_err().code(), Code::OutOfRange);
    let unknown = prove("nobody/evidence", vec![0]).await.unwrap_err();
    assert!(has_reason(&unknown, "LOG_NOT_FOUND"));
    let consistency =
        proto::GetConsistencyProofRequest { log: Some(log(LOG)), old_size: 1, new_size: 1_000_000 };
    assert_eq!(client.get_consistency_proof(consistency).await.unwrap_err().code(), Code::OutOfRange);
    let shrunk = proto::GetConsistencyProofRequest { log: Some(log(LOG)), old_size: 3, new_size: 2 };
    assert_eq!(client.get_consistency_proof(shrunk).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stamped_while_the_clocks_differ_by_more_than_two_minutes() {
    let archive = Archive::new().await;
    let clock = Arc::new(WrongClock(0.into()));
    let (trust, mut client) = start(TrustConfig { clock: clock.clone(), ..archive.config() }).await;
    for (n, millis) in [(1, 0), (2, 110_000), (3, -110_000)] {
        clock.0.store(millis, Ordering::SeqCst);
        append(&mut client, LOG, [n]).await;
    }
    for millis in [130_000, -130_000] {
        clock.0.store(millis, Ordering::SeqCst);
        let refused = try_append(&mut client, LOG, [4]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(has_reason(&refused, "CLOCKS_DIFFER"));
        assert!(trust.health().now().stopped.is_some());
    }
    clock.0.store(0, Ordering::SeqCst);
    assert_eq!(append(&mut client, LOG, [4]).await[0].index, 4);
    assert_eq!(trust.health().now().stopped, None);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_stands_by_and_takes_over() {
    let archive = Archive::new().await;
    let (first, mut of_first) = archive.start().await;
    append(&mut of_first, LOG, [1]).await;
    let (second, mut of_second) = archive.start().await;
    let refused = try_append(&mut of_second, LOG, [2]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(has_reason(&refused, "SEQUENCER_STOPPED"));
    // It reads all the same.
    assert_eq!(all_leaves(&mut of_second, LOG).await.len(), 2);
    first.shutdown().await;
    let taken_over = || {
        let mut of_second = of_second.clone();
        async move { try_append(&mut of_second, LOG, [2]).await.ok() }
    };
    assert_eq!(eventually("the second service", taken_over).await[0].index, 2);
    assert!(try_append(&mut of_first, LOG, [3]).await.is_err());
    second.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_whose_connection_was_cut_refuses_until_it_has_its_lock_again() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    append(&mut client, LOG, [1]).await;
    // Whoever cuts it takes the lock as well: as another sequencer would.
    let mut thief = PgConnection::connect_with(&archive.pool.connect_options()).await.unwrap();
    let key = sequencer_lock_key(DOMAIN, ARCHIVE);
    sqlx::query("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())")
        .execute(&mut thief)
        .await
        .unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(key).execute(&mut thief).await.unwrap();
    let refused = try_append(&mut client, LOG, [2]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let stopped = || async { trust.health().now().stopped };
    eventually("the loss to be known", stopped).await;
    let refused = try_append(&mut client, LOG, [2]).await.unwrap_err();
    assert!(has_reason(&refused, "SEQUENCER_STOPPED"));
    thief.close().await.unwrap();
    let again = || {
        let mut client = client.clone();
        async move { try_append(&mut client, LOG, [2]).await.ok() }
    };
    assert_eq!(eventually("the lock", again).await[0].index, 2);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_shutdown_every_append_is_refused() {
    let archive = Archive::new().await;
    let trust = Trust::start(archive.config()).await.unwrap();
    let mut client = client(&trust);
    let health = trust.health();
    trust.shutdown().await;
    let refused = try_append(&mut client, LOG, [1]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(health.now().stopped.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_those_who_wait_for_proofs() {
    let archive = Archive::new().await;
    let objects = archive.store.clone().with_faults(Faults::first(u64::MAX, Calls::Writes, Fault::Failed));
    let (trust, mut client) = start(TrustConfig { objects, ..archive.config() }).await;
    append(&mut client, LOG, [1]).await;
    let request = proto::GetInclusionProofsRequest { log: Some(log(LOG)), indices: vec![1] };
    let (refused, ()) = tokio::join!(client.get_inclusion_proofs(request), async {
        let failure = || async { trust.health().now().logs[0].failure.clone() };
        eventually("a failed attempt", failure).await;
        trust.shutdown().await;
    });
    assert!(has_reason(&refused.unwrap_err(), "SEQUENCER_STOPPED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_proof_in_vain_is_told_why() {
    let archive = Archive::new().await;
    let objects = archive.store.clone().with_faults(Faults::first(u64::MAX, Calls::Writes, Fault::Failed));
    let proof_wait = std::time::Duration::from_millis(300);
    let (trust, mut client) = start(TrustConfig { objects, proof_wait, ..archive.config() }).await;
    append(&mut client, LOG, [1]).await;
    let request = proto::GetInclusionProofsRequest { log: Some(log(LOG)), indices: vec![1] };
    let refused = client.get_inclusion_proofs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    assert!(has_reason(&refused, "NO_CHECKPOINT_IN_TIME"));
    assert!(refused.message().contains("planned fault"), "{refused:?}");
    let none = client.get_checkpoint(proto::GetCheckpointRequest { log: Some(log(LOG)) }).await.unwrap_err();
    assert!(has_reason(&none, "NO_CHECKPOINT"));
    trust.shutdown().await;
}
