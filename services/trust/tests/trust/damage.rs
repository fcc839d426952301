//! One way to break a ledger after the other: each is found, and nothing else is accused.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use openarchive_proto::trust::v1 as proto;

use crate::archive::{Archive, append, prove};

const LOG: &str = "acme/evidence";
const LEDGER: &str = "ledger/acme/evidence/1";
const HEADS: &str = "heads/acme/evidence/1";

/// 601 leaves in three checkpoints, and a wrapping key.
async fn healthy() -> Archive {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    for numbers in [0..10, 10..300, 300..600] {
        let leaves = append(&mut client, LOG, numbers).await;
        prove(&mut client, &archive, LOG, &leaves).await;
    }
    let request = proto::WrapKeysRequest { tenant: "acme".to_owned(), keys: vec![vec![7; 32].into()] };
    client.wrap_keys(request).await.unwrap();
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
    archive
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_row_is_found() {
    let archive = healthy().await;
    let check = async |breaks: &str, mends: &str, expected: &[&str]| {
        archive.sql(&format!("create table kept_leaf as table trust.leaf; create table kept_node as table trust.node; create table kept_checkpoint as table trust.checkpoint; {breaks}")).await;
        assert_eq!(archive.damage().await, expected, "{breaks}");
        archive
            .sql(&format!(
                "{mends}; delete from trust.leaf; delete from trust.node; delete from trust.checkpoint;
                 insert into trust.leaf table kept_leaf; insert into trust.node table kept_node;
                 insert into trust.checkpoint table kept_checkpoint;
                 drop table kept_leaf; drop table kept_node; drop table kept_checkpoint"
            ))
            .await;
    };
    let body =
        r#"convert_to(replace(convert_from(body, 'UTF8'), '"version_id":"1"', '"version_id":"2"'), 'UTF8')"#;
    let nothing = "select 1";
    check(
        &format!("update trust.leaf set body = {body} where leaf_index = 300"),
        nothing,
        &["bundle-differs", "row-changed"],
    )
    .await;
    // Hash and all: then it is the tree that does not fit what was signed.
    check(
        &format!("update trust.leaf set body = {body}, leaf_hash = sha256('\\x00' || {body}) where leaf_index = 300"),
        nothing,
        &["bundle-differs", "head-differs", "node", "tile-differs"],
    )
    .await;
    check("delete from trust.leaf where leaf_index = 5", nothing, &["row-missing"]).await;
    check("update trust.leaf set idempotency_key = sha256('x') where leaf_index = 7", nothing, &["row-key"])
        .await;
    check("update trust.leaf set recorded_at = 0 where leaf_index = 7", nothing, &["row-time"]).await;
    check("update trust.node set hash = sha256('x') where level = 3 and node_index = 2", nothing, &["node"])
        .await;
    check("delete from trust.node where level = 8", nothing, &["node"]).await;
    check(
        "update trust.log set next_index = 500; delete from trust.leaf where leaf_index >= 500",
        "update trust.log set next_index = 601",
        &["tail-cut"],
    )
    .await;
    check(
        "update trust.checkpoint set size = 600 where ordinal = (select max(ordinal) from trust.checkpoint)",
        nothing,
        &["bundle-missing", "checkpoint-differs", "tile-missing"],
    )
    .await;
    check("update trust.checkpoint set note = 'x'", nothing, &["checkpoint-signature"]).await;
    check(
        "update trust.log set verifier_key = 'x'",
        &format!("update trust.log set verifier_key = '{}'", archive.verifier("acme/evidence/1")),
        &["log-foreign-key"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_object_is_found() {
    let archive = healthy().await;
    let heads = archive.store.list(&format!("{HEADS}/")).await.unwrap();
    let last_head = heads[heads.len() - 1].to_string();
    let check = async |key: &str, becomes: Option<&[u8]>, expected: &[&str]| {
        let whole = std::fs::read(archive.file(key)).unwrap();
        match becomes {
            Some(bytes) => archive.overwrite(key, bytes),
            None => std::fs::remove_file(archive.file(key)).unwrap(),
        }
        assert_eq!(archive.damage().await, expected, "{key}");
        if becomes.is_none() {
            std::fs::write(archive.file(key), b"").unwrap();
        }
        archive.overwrite(key, &whole);
    };
    let changed = |key: &str| {
        let mut bytes = std::fs::read(archive.file(key)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let last_bundle = format!("{LEDGER}/tile/entries/002.p/89");
    let (full_bundle, tile, upper) = (
        format!("{LEDGER}/tile/entries/000"),
        format!("{LEDGER}/tile/0/001"),
        format!("{LEDGER}/tile/1/000.p/2"),
    );
    for key in [&tile, &upper] {
        check(key, Some(&changed(key)), &["tile-differs"]).await;
        check(key, Some(b"short"), &["tile-differs"]).await;
        check(key, None, &["tile-missing"]).await;
    }
    for key in [&full_bundle, &last_bundle] {
        check(key, Some(&changed(key)), &["bundle-differs"]).await;
        check(key, Some(b"short"), &["bundle-differs"]).await;
        check(key, None, &["bundle-missing"]).await;
    }
    let checkpoint = format!("{LEDGER}/checkpoint");
    check(&checkpoint, Some(&changed(&checkpoint)), &["checkpoint-signature"]).await;
    check(&checkpoint, None, &["checkpoint-missing"]).await;
    let rows: Vec<(String,)> = sqlx::query_as("select note from trust.checkpoint order by ordinal")
        .fetch_all(&archive.pool)
        .await
        .unwrap();
    check(&checkpoint, Some(rows[0].0.as_bytes()), &["checkpoint-rolled-back"]).await;
    check(&last_head, None, &["head-missing"]).await;
    check(&last_head, Some(b"{}"), &["head-chain", "head-missing"]).await;
    let other = String::from_utf8(std::fs::read(archive.file(&last_head)).unwrap()).unwrap();
    let other = other.replace(r#""size":"601""#, r#""size":"600""#);
    check(&last_head, Some(other.as_bytes()), &["checkpoint-differs", "head-differs"]).await;
    check("kek/acme/1", Some(&[7; 40]), &["key-differs", "key-foreign"]).await;
    check("kek/acme/1", Some(b"short"), &["key-differs"]).await;
    check("kek/acme/1", None, &["key-differs"]).await;
    assert_eq!(archive.fsck().await, []);
    // The whole log gone from the database.
    archive.sql("truncate trust.log, trust.leaf, trust.node, trust.checkpoint").await;
    assert_eq!(archive.damage().await, ["log-missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_archive_is_not_accused() {
    let archive = Archive::new().await;
    let (trust, client) = archive.start().await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (mut client, done) = (client.clone(), done.clone());
        async move {
            for n in (0..3_000).step_by(10) {
                append(&mut client, LOG, n..n + 10).await;
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    let mut checks = 0;
    while !done.load(Ordering::SeqCst) {
        assert_eq!(archive.fsck().await, []);
        checks += 1;
    }
    writer.await.unwrap();
    assert!(checks > 0);
    trust.shutdown().await;
}
