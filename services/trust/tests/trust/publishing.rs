use std::time::Duration;

use openarchive_ledger::tree::verify_consistency;
use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::trust::v1 as proto;
use openarchive_rpc::has_reason;
use openarchive_trust::{CheckpointIntervals, TrustConfig};
use tokio::sync::watch;
use tonic::Code;

use crate::archive::{
    Archive, all_leaves, append, checked, eventually, hashes, log, prove, start, try_append,
};

const LOG: &str = "acme/evidence";
const AUDIT: &str = "acme/audit";

#[tokio::test(flavor = "multi_thread")]
async fn every_checkpoint_proves_all_before_it_and_follows_from_the_last_one() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let first = append(&mut client, LOG, [0]).await;
    let mut last = prove(&mut client, &archive, LOG, &first).await[0].checkpoint.clone();
    let mut next = 1;
    // Around the edges of tiles, and far.
    for size in [3, 4, 7, 130, 255, 256, 257, 258, 511, 512, 513, 770] {
        let new = append(&mut client, LOG, next..size - 1).await;
        next = size - 1;
        assert_eq!(new.last().unwrap().index, size - 1);
        let all = all_leaves(&mut client, LOG).await;
        let sample: Vec<_> = all.into_iter().step_by((size / 50 + 1) as usize).collect();
        prove(&mut client, &archive, LOG, &sample).await;
        let checkpoint = prove(&mut client, &archive, LOG, &new[new.len() - 1..]).await[0].checkpoint.clone();
        assert_eq!(checkpoint.size, size);
        let request =
            proto::GetConsistencyProofRequest { log: Some(log(LOG)), old_size: last.size, new_size: size };
        let proof = client.get_consistency_proof(request).await.unwrap().into_inner().proof.unwrap();
        verify_consistency(last.size, &last.root, size, &checkpoint.root, &hashes(&proof)).unwrap();
        last = checkpoint;
    }
    let answer = client
        .get_checkpoint(proto::GetCheckpointRequest { log: Some(log(LOG)) })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(checked(&archive, LOG, &answer.note), last);
    assert_eq!(answer.verifier_key, archive.verifier("acme/evidence/1").to_string());
    assert_eq!(
        std::fs::read_to_string(archive.file("ledger/acme/evidence/1/checkpoint")).unwrap(),
        answer.note
    );
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
    // Partial forms of what is full are gone.
    for full in ["tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/002"] {
        assert!(archive.file(&format!("ledger/acme/evidence/1/{full}")).exists(), "{full}");
        let partial = archive.store.list(&format!("ledger/acme/evidence/1/{full}.p/")).await.unwrap();
        assert_eq!(partial, [], "{full}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_has_a_checkpoint_at_once_but_never_two_in_one_interval() {
    let archive = Archive::new().await;
    let interval = Duration::from_millis(700);
    let intervals = CheckpointIntervals::every(interval);
    let (trust, mut client) = start(TrustConfig { intervals, ..archive.config() }).await;
    let begin = std::time::Instant::now();
    for n in 0..3 {
        let leaves = append(&mut client, LOG, [n]).await;
        prove(&mut client, &archive, LOG, &leaves).await;
    }
    // The first is due at once, the other two each an interval later.
    assert!(begin.elapsed() >= interval * 2);
    trust.shutdown().await;
    let heads = archive.store.list("heads/acme/evidence/1/").await.unwrap();
    assert_eq!(heads.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_while_the_process_is_about_to_stop_waits_for_no_interval() {
    let archive = Archive::new().await;
    let never = CheckpointIntervals::every(Duration::from_secs(3600));
    let (trust, mut client) = start(TrustConfig { intervals: never, ..archive.config() }).await;
    let (stop, stopped) = watch::channel(false);
    trust.hurry_when(stopped);
    let leaves = append(&mut client, LOG, [0]).await;
    // One that waits when it is told, and two that come after that.
    tokio::join!(prove(&mut client, &archive, LOG, &leaves), async { stop.send_replace(true) });
    for n in 1..3 {
        let leaves = append(&mut client, LOG, [n]).await;
        prove(&mut client, &archive, LOG, &leaves).await;
    }
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_publishes_what_was_left_and_goes_on() {
    let archive = Archive::new().await;
    let never = CheckpointIntervals::every(Duration::from_secs(3600));
    let (trust, mut client) = start(TrustConfig { intervals: never, ..archive.config() }).await;
    let before = append(&mut client, LOG, 0..300).await;
    let audit = append(&mut client, AUDIT, 0..2).await;
    trust.shutdown().await;
    assert_eq!(archive.store.list("heads/").await.unwrap(), []);
    assert_eq!(archive.fsck().await, []);

    let (trust, mut client) = archive.start().await;
    prove(&mut client, &archive, LOG, &before).await;
    prove(&mut client, &archive, AUDIT, &audit).await;
    let after = append(&mut client, LOG, [299, 300]).await;
    assert_eq!((&after[0], after[1].index), (&before[299], 301));
    prove(&mut client, &archive, LOG, &after).await;
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_set_back_behind_its_heads_takes_no_leaf_and_signs_nothing() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let leaves = append(&mut client, LOG, 0..20).await;
    prove(&mut client, &archive, LOG, &leaves).await;
    trust.shutdown().await;
    let heads = archive.store.list("heads/").await.unwrap();
    archive
        .sql(
            "delete from trust.checkpoint; delete from trust.node;
             delete from trust.leaf where leaf_index > 0; update trust.log set next_index = 1",
        )
        .await;
    let (trust, mut client) = archive.start().await;
    let refused = try_append(&mut client, LOG, [99]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(has_reason(&refused, "LOG_REFUSED"));
    assert!(says_the_way_back(refused.message()), "{refused:?}");
    let why =
        eventually("the publisher's refusal", || async { trust.health().now().logs[0].failure.clone() })
            .await;
    assert!(why.contains("was set back") && says_the_way_back(&why), "{why}");
    trust.shutdown().await;
    assert_eq!(archive.store.list("heads/").await.unwrap(), heads);
    assert_eq!(archive.damage().await, ["tail-cut"]);

    // The whole database gone, and the service started as if the archive were new.
    let archive = archive.with_empty_database().await;
    let (trust, mut client) = archive.start().await;
    let refused = try_append(&mut client, LOG, [99]).await.unwrap_err();
    assert!(has_reason(&refused, "LOG_REFUSED") && says_the_way_back(refused.message()), "{refused:?}");
    trust.shutdown().await;
}

/// Whoever has restored an older backup of the database is told all that he has to do, in order.
fn says_the_way_back(message: &str) -> bool {
    let steps = ["stop the archive", "move its database away", "run `openarchive rebuild`"];
    let places: Vec<_> = steps.iter().map(|step| message.find(step)).collect();
    places.iter().all(Option::is_some) && places.is_sorted()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_other_than_the_signed_one_is_never_signed() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let leaves = append(&mut client, LOG, 0..20).await;
    prove(&mut client, &archive, LOG, &leaves).await;
    trust.shutdown().await;
    // Leaf 3 rewritten with all hashes above it, as somebody with the database's password could.
    let published = std::fs::read(archive.file("ledger/acme/evidence/1/checkpoint")).unwrap();
    archive.sql("update trust.leaf set leaf_hash = sha256('x') where leaf_index = 20").await;
    let (trust, mut client) = archive.start().await;
    append(&mut client, LOG, [20]).await;
    let why = eventually("the refusal", || async { trust.health().now().logs[0].failure.clone() }).await;
    assert!(why.contains("another history") && says_the_way_back(&why), "{why}");
    trust.shutdown().await;
    assert_eq!(std::fs::read(archive.file("ledger/acme/evidence/1/checkpoint")).unwrap(), published);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_leaves_are_refused_while_their_checkpoints_stall() {
    let archive = Archive::new().await;
    let objects = archive.store.clone().with_faults(Faults::first(8, Calls::Writes, Fault::Failed));
    let stalled_after = Duration::from_millis(100);
    let (trust, mut client) = start(TrustConfig { objects, stalled_after, ..archive.config() }).await;
    append(&mut client, AUDIT, [0]).await;
    let health = trust.health();
    let stalled = || async { health.oldest_unpublished_age("audit").filter(|age| *age > stalled_after) };
    eventually("the stall", stalled).await;
    let refused = try_append(&mut client, AUDIT, [1]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(has_reason(&refused, "CHECKPOINTS_STALLED"));
    // Evidence is not held up by that.
    append(&mut client, LOG, [0]).await;
    let over = || {
        let mut client = client.clone();
        async move { try_append(&mut client, AUDIT, [1]).await.ok() }
    };
    assert_eq!(eventually("the stall's end", over).await[0].index, 2);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_names_the_keys_of_the_tenants_logs() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let leaves = append(&mut client, LOG, [0]).await;
    prove(&mut client, &archive, LOG, &leaves).await;
    let policy = trust.policy_for(&"acme".parse().unwrap());
    let expected = [archive.verifier("acme/evidence/1"), archive.verifier("acme/audit/1")];
    assert_eq!(policy.logs(), expected);
    let mode = client.get_trust_mode(proto::GetTrustModeRequest {}).await.unwrap().into_inner();
    assert_eq!(mode.mode, "non_qualified");
    trust.shutdown().await;
}
