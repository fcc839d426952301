use openarchive_domain::SystemClock;
use openarchive_ledger::tree::{leaf_hash, verify_inclusion};
use openarchive_proto::trust::v1 as proto;
use openarchive_trust::{
    CustodyError, FindingCode, Keys,
    rebuild::{RebuildError, RebuildReport, rebuild},
    sequencer_lock_key,
};

use crate::archive::{ARCHIVE, Archive, Client, DOMAIN, all_leaves, append, entry, eventually, log, prove};

const LOG: &str = "acme/evidence";
const AUDIT: &str = "acme/audit";

async fn run(archive: &Archive) -> Result<RebuildReport, RebuildError> {
    rebuild(&archive.service, &archive.store, &archive.keys, &SystemClock, &mut |_| {}).await
}

/// An archive with two logs over several tiles, a wrapping key, and everything published.
async fn filled() -> (Archive, Client, openarchive_trust::Trust) {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    for numbers in [0..5, 5..400, 400..700] {
        let leaves = append(&mut client, LOG, numbers).await;
        prove(&mut client, &archive, LOG, &leaves).await;
    }
    let leaves = append(&mut client, AUDIT, 0..10).await;
    prove(&mut client, &archive, AUDIT, &leaves).await;
    let request = proto::WrapKeysRequest { tenant: "acme".to_owned(), keys: vec![vec![7; 32].into()] };
    client.wrap_keys(request).await.unwrap();
    (archive, client, trust)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_filled_with_the_same_leaves_and_old_proofs_still_hold() {
    let (archive, mut client, trust) = filled().await;
    let before = [all_leaves(&mut client, LOG).await, all_leaves(&mut client, AUDIT).await];
    let receipts = prove(&mut client, &archive, LOG, &before[0][..50]).await;
    trust.shutdown().await;
    drop(client);

    let archive = archive.with_empty_database().await;
    let report = run(&archive).await.unwrap();
    let expected =
        RebuildReport { logs: 2, leaves: 712, leaves_added: 712, wrapping_keys: 1, damage: Vec::new() };
    assert_eq!(report, expected);
    assert_eq!(archive.fsck().await, []);
    // Again: nothing is left to do.
    assert_eq!(run(&archive).await.unwrap(), RebuildReport { leaves_added: 0, ..expected });

    let (trust, mut client) = archive.start().await;
    assert_eq!([all_leaves(&mut client, LOG).await, all_leaves(&mut client, AUDIT).await], before);
    for (proven, leaf) in receipts.iter().zip(&before[0]) {
        let (checkpoint, hash) = (&proven.checkpoint, leaf_hash(&leaf.body));
        verify_inclusion(&hash, leaf.index, checkpoint.size, &proven.hashes, &checkpoint.root).unwrap();
    }
    assert_eq!(prove(&mut client, &archive, LOG, &before[0][..50]).await, receipts);
    // Replayed, as outboxes do: what stands is found again, what is new is added.
    let replayed = append(&mut client, LOG, [699, 700]).await;
    assert_eq!((&replayed[0], replayed[1].index), (&before[0][700], 701));
    prove(&mut client, &archive, LOG, &replayed).await;
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_is_brought_up_to_the_tiles() {
    let (archive, mut client, trust) = filled().await;
    let before = all_leaves(&mut client, LOG).await;
    trust.shutdown().await;
    // As a backup from the time of leaf 300 would be: its rows, its complete subtrees.
    archive
        .sql(
            "delete from trust.checkpoint;
             with cut as (select log_id from trust.log where stream = 'evidence')
             delete from trust.node using cut where node.log_id = cut.log_id and (node_index + 1) << level > 300;
             delete from trust.leaf using trust.log l
               where leaf.log_id = l.log_id and l.stream = 'evidence' and leaf_index >= 300;
             update trust.log set next_index = 300 where stream = 'evidence'",
        )
        .await;
    let report = run(&archive).await.unwrap();
    assert_eq!((report.leaves_added, report.damage), (401, vec![]));
    assert_eq!(archive.fsck().await, []);
    let (trust, mut client) = archive.start().await;
    assert_eq!(all_leaves(&mut client, LOG).await, before);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_leaves_in_bundles_behind_the_last_head_are_taken_too() {
    let (archive, mut client, trust) = filled().await;
    let before = all_leaves(&mut client, LOG).await;
    trust.shutdown().await;
    // As after a crash between tiles and head: the last head and what followed it are not there.
    let heads = archive.store.list("heads/acme/evidence/1/").await.unwrap();
    assert!(heads.len() > 2);
    std::fs::remove_file(archive.file(heads[heads.len() - 1].as_str())).unwrap();
    std::fs::remove_file(archive.file("ledger/acme/evidence/1/checkpoint")).unwrap();
    let archive = archive.with_empty_database().await;
    let report = run(&archive).await.unwrap();
    assert_eq!((report.leaves, report.damage), (712, vec![]));
    let (trust, mut client) = archive.start().await;
    assert_eq!(all_leaves(&mut client, LOG).await, before);
    prove(&mut client, &archive, LOG, &before[690..]).await;
    trust.shutdown().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_named_and_left_out() {
    let bundle = "ledger/acme/evidence/1/tile/entries/001";
    let tile = "ledger/acme/evidence/1/tile/0/000";
    let checkpoint = "ledger/acme/evidence/1/checkpoint";
    let (archive, client, trust) = filled().await;
    trust.shutdown().await;
    drop(client);
    let mut archive = archive;
    for (key, code) in [
        (bundle, FindingCode::TileDiffers),
        (tile, FindingCode::TileDiffers),
        (checkpoint, FindingCode::CheckpointSignature),
    ] {
        let whole = std::fs::read(archive.file(key)).unwrap();
        let mut broken = whole.clone();
        // A digit of a leaf's digest, or whatever stands in the middle.
        let digest = broken.windows(7).rposition(|text| text == b"sha256:").map(|at| at + 10);
        let position = digest.unwrap_or(broken.len() / 2);
        broken[position] = if broken[position] == b'1' { b'2' } else { b'1' };
        archive.overwrite(key, &broken);
        archive = archive.with_empty_database().await;
        let report = run(&archive).await.unwrap();
        assert_eq!(report.damage.iter().map(|finding| finding.code).collect::<Vec<_>>(), [code], "{key}");
        // The other log is there all the same.
        assert_eq!((report.logs, report.leaves), (1, 11), "{key}");
        archive.overwrite(key, &whole);
    }
    std::fs::remove_file(archive.file(bundle)).unwrap();
    archive = archive.with_empty_database().await;
    let report = run(&archive).await.unwrap();
    assert_eq!(report.damage[0].code, FindingCode::BundleMissing);
    assert_eq!(report.damage[0].place, bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_in_the_database_is_not_built_upon() {
    let (archive, _, trust) = filled().await;
    trust.shutdown().await;
    let archive = archive.with_empty_database().await;
    // A log that was begun anew, with the heads hidden from its sequencer.
    let hidden = archive.folder.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    for part in ["heads", "ledger"] {
        std::fs::rename(archive.file(part), hidden.join(part)).unwrap();
    }
    let (trust, mut client) = archive.start().await;
    let request = proto::AppendRequest { log: Some(log(LOG)), entries: vec![entry("acme", 4711)] };
    client.append(request).await.unwrap();
    trust.shutdown().await;
    for part in ["heads", "ledger"] {
        let _ = std::fs::remove_dir_all(archive.file(part));
        std::fs::rename(hidden.join(part), archive.file(part)).unwrap();
    }
    let report = run(&archive).await.unwrap();
    assert_eq!(report.damage[0].code, FindingCode::RowChanged);
    assert_eq!(report.logs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_rebuilt_under_a_running_service_or_with_foreign_keys() {
    let (archive, client, trust) = filled().await;
    assert!(matches!(run(&archive).await, Err(RebuildError::Running)));
    trust.shutdown().await;
    drop(client);
    let archive = archive.with_empty_database().await;
    let other = Archive { keys: Keys::from_secrets([9; 32], [2; 32]), ..archive };
    assert!(matches!(run(&other).await, Err(RebuildError::Custody(CustodyError::Foreign { .. }))));
    let other = Archive { keys: Keys::from_secrets([1; 32], [9; 32]), ..other };
    let report = run(&other).await.unwrap();
    assert_eq!((report.logs, report.damage.len()), (0, 2));
}

/// PostgreSQL gives the lock of a process that was killed back when it notices that the connection is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_waits_for_the_lock_of_a_service_that_has_just_gone() {
    let (archive, _, trust) = filled().await;
    trust.shutdown().await;
    let archive = archive.with_empty_database().await;
    let mut held = archive.pool.begin().await.unwrap();
    let key = sequencer_lock_key(DOMAIN, ARCHIVE);
    sqlx::query("select pg_advisory_xact_lock($1)").bind(key).execute(&mut *held).await.unwrap();
    let tried = || async {
        let query =
            "select true from pg_stat_activity where query like '%pg_try_advisory_lock%' and state = 'idle'
                       and datname = current_database() limit 1";
        sqlx::query_scalar::<_, bool>(query).fetch_optional(&archive.pool).await.unwrap()
    };
    let released = async {
        eventually("the rebuild meets the lock", tried).await;
        held.commit().await.unwrap();
    };
    let (report, ()) = tokio::join!(run(&archive), released);
    let report = report.unwrap();
    assert_eq!((report.logs, report.damage), (2, Vec::new()));
}
