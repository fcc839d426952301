//! Each way to break the sets of retention policies, and what the check says of it.

use openarchive_ingest::Finding;

use crate::{
    archive::Archive,
    faults::Fails,
    policies::{apply_to, locked, policy},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_taken_out_of_the_database_is_found() {
    let archive = Archive::start().await;
    archive.apply(vec![policy("tax", 6)]).await;
    archive.apply(vec![locked("tax", 6)]).await;
    assert_eq!(archive.fsck().await, []);
    let differs =
        |found: &[Finding]| found.iter().any(|found| matches!(found, Finding::PoliciesDiffer { .. }));
    archive.execute("create table kept as select * from ingest.policy_set").await;
    // The set before it is put in force again.
    archive.execute("delete from ingest.policy_set where version = 2").await;
    assert!(differs(&archive.fsck().await));
    archive.execute("insert into ingest.policy_set select * from kept where version = 2").await;
    assert_eq!(archive.fsck().await, []);
    archive
        .execute(
            "update ingest.policy_set set (record, body) = (select record, body from kept where version = 1)
             where version = 2",
        )
        .await;
    assert!(differs(&archive.fsck().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_leaf_is_not_in_the_log_is_found() {
    let archive = Archive::start().await;
    archive.apply(vec![policy("tax", 6)]).await;
    let index = archive.apply(vec![locked("tax", 6)]).await.leaf_index.unwrap();
    assert_eq!(archive.fsck().await, []);
    let act = "(select act_id from ingest.policy_set where version = 2)";
    let moved = async |to: &str| {
        archive.execute(&format!("update ingest.act set leaf_index = {to} where act_id = {act}")).await;
    };
    // No leaf of policies, and none at all.
    for beyond in [index + 1, 1_000_000] {
        moved(&beyond.to_string()).await;
        assert_eq!(archive.fsck().await, [Finding::PoliciesDiffer { index: beyond }]);
    }
    moved(&index.to_string()).await;
    assert_eq!(archive.fsck().await, []);
    // A set beside the log: its act is one that the log never takes for it, and so has no leaf.
    archive
        .execute(
            "with act as (insert into ingest.act (tenant, idempotency_key, body)
               select '_', sha256('x'), body from ingest.act where leaf_index is not null and tenant = '_' limit 1
               returning act_id)
             insert into ingest.policy_set (tenant, version, record, body, applied_at, act_id)
             select '_', 3, record, body, applied_at, act.act_id from ingest.policy_set, act where version = 1",
        )
        .await;
    let found = archive.fsck().await;
    assert_eq!(found, [Finding::PoliciesWithoutLeaf { version: 3 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_leaf_is_about_to_be_sent_is_no_damage() {
    let archive = Archive::start().await;
    archive.apply(vec![policy("tax", 5)]).await;
    archive.faults.plan("Append", Fails::Before);
    apply_to(&archive.ingest, vec![locked("tax", 6)]).await.unwrap_err();
    assert_eq!(archive.fsck().await, []);
}
