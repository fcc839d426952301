use insta::assert_snapshot;
use k8s_openapi::{
    api::apps::v1::ControllerRevision, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp as CreatedAt,
};
use serde_json::Value;

use super::*;
use crate::{
    Applied, LogLeaf,
    fixtures::{after, applied, bodies, log, other, restart, snapshots, subject},
    history, pending, revision,
};

fn revisions(snapshots: &[Snapshot]) -> Vec<ControllerRevision> {
    (1..).zip(snapshots).map(|(ordinal, snapshot)| revision(snapshot, ordinal)).collect()
}

fn verify(revisions: &[ControllerRevision], leaves: &[LogLeaf]) -> Chain {
    Chain::verify(&subject(), &Revisions::read(revisions), &ConfigLog::read(leaves))
}

/// What is found, with what to do; digests are cut short.
fn findings(chain: &Chain) -> String {
    let lines = chain.findings.iter().map(|finding| format!("{}: {finding}", finding.code()));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut short = text.split("sha256:");
    let head = short.next().unwrap_or_default().to_owned();
    short.fold(head, |text, rest| format!("{text}sha256:{}..{}", &rest[..6], &rest[64..]))
}

/// A snapshot that claims the place after `previous` with other content.
fn forged(generation: u64, previous: Option<&Snapshot>) -> Snapshot {
    let applied = Applied { client_declared_manager: "somebody".to_owned(), ..applied(generation) };
    after(previous, applied)
}

#[test]
fn a_whole_history_has_no_findings_whatever_else_is_in_log_and_cluster() {
    let chain = snapshots::<10>();
    let mut bodies = bodies(&chain);
    bodies.insert(3, restart());
    bodies.insert(5, ConfigLeaf::of(&other()).body());
    let mut revisions = revisions(&chain);
    revisions.reverse();
    revisions.push(revision(&other(), 1));
    revisions.push(ControllerRevision { revision: 7, ..ControllerRevision::default() });
    let verified = verify(&revisions, &log(&bodies));
    assert_eq!((findings(&verified).as_str(), verified.recorded.len(), verified.pending.len()), ("", 10, 0));
    let all = subjects(&Revisions::read(&revisions), &ConfigLog::read(&log(&bodies)));
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [subject(), other().subject().clone()]);
}

#[test]
fn several_snapshots_of_one_generation_and_the_last_of_a_deleted_object_are_one_chain() {
    let policy = |years: u32| {
        serde_json::json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy",
            "metadata": { "name": "books", "namespace": "mail" }, "spec": { "keepFor": { "years": years } },
        })
    };
    let mut chain: Vec<Snapshot> = vec![after(None, applied(4))];
    for years in [10, 11] {
        let mut now = applied(4);
        now.objects.push(policy(years));
        chain.push(after(chain.last(), now));
    }
    let last = ConfigLeaf::of(chain.last().unwrap());
    chain.push(Snapshot::take_deletion(applied(5), &crate::fixtures::mac(), Some(&last)).unwrap());
    let again = Applied { uid: "00000000-0000-4000-8000-000000000002".to_owned(), ..applied(1) };
    chain.push(after(chain.last(), again));
    for recorded in 0..=chain.len() {
        let verified = verify(&revisions(&chain), &log(&bodies(&chain[..recorded])));
        assert_eq!((findings(&verified).as_str(), verified.recorded.len()), ("", recorded));
        let deleted: Vec<_> =
            history(&verified).iter().map(|row| row.content.clone().unwrap().deleted).collect();
        assert_eq!(deleted, [false, false, false, true, false]);
    }
}

#[test]
fn what_is_not_on_the_ledger_yet_is_pending_and_delivered_in_order() {
    let chain = snapshots::<5>();
    let leaves = log(&bodies(&chain[..2]));
    let revisions = revisions(&chain);
    let verified = verify(&revisions, &leaves);
    assert_eq!(findings(&verified), "");
    assert_eq!(verified.pending.iter().map(|r| r.ordinal).collect::<Vec<_>>(), [3, 4, 5]);
    let deliveries = pending(&Revisions::read(&revisions), &ConfigLog::read(&leaves)).unwrap();
    let order: Vec<_> = deliveries.iter().map(|d| (d.ordinal, d.expected_previous)).collect();
    assert_eq!(order, [(3, 2), (4, 3), (5, 4)]);
    // Delivered as they say, they make the log that has nothing pending.
    let sent: Vec<Value> =
        bodies(&chain[..2]).into_iter().chain(deliveries.into_iter().map(|d| d.leaf)).collect();
    assert_eq!(log(&sent), log(&bodies(&chain)));
    assert!(pending(&Revisions::read(&revisions), &ConfigLog::read(&log(&sent))).unwrap().is_empty());
}

#[test]
fn the_first_delivery_of_all_follows_leaf_0_even_before_the_log_is_opened() {
    let revisions = Revisions::read(&[revision(&other(), 1), revision(&snapshots::<1>()[0], 1)]);
    for leaves in [Vec::new(), log(&[])] {
        let deliveries = pending(&revisions, &ConfigLog::read(&leaves)).unwrap();
        let order: Vec<_> = deliveries.iter().map(|d| (d.subject.kind(), d.expected_previous)).collect();
        assert_eq!(order, [("ArchiveCore", 0), ("RetentionPolicy", 1)]);
        assert_eq!(deliveries[1].idempotency_key, ConfigLeaf::of(&other()).idempotency_key().unwrap());
    }
}

#[test]
fn a_deleted_revision_is_found() {
    let chain = snapshots::<4>();
    let mut kept = revisions(&chain);
    kept.remove(1);
    let verified = verify(&kept, &log(&bodies(&chain)));
    assert_snapshot!(findings(&verified), @"revision_missing: the ControllerRevision main-config-2-0848f64d21 is gone; leaf 2 of the config log says that it held sha256:0848f6..");
    assert!(verified.recorded[1].snapshot.is_none());
    // All of them, also if the cluster knows nothing any more.
    assert_eq!(verify(&[], &log(&bodies(&chain))).findings.len(), 4);
}

#[test]
fn a_revision_made_again_with_other_data_is_found_under_any_name() {
    let chain = snapshots::<4>();
    let leaves = log(&bodies(&chain));
    let forged = forged(2, Some(&chain[0]));
    let mut same_name = revisions(&chain);
    same_name[1].data = revision(&forged, 2).data;
    assert_snapshot!(findings(&verify(&same_name, &leaves)), @"revision_replaced: the ControllerRevision main-config-2-0848f64d21 does not hold what was recorded in its place: leaf 2 of the config log says sha256:0848f6.., but its data has the digest sha256:61cebc.., which does not go with its name");
    let mut own_name = revisions(&chain);
    own_name[1] = revision(&forged, 2);
    assert_snapshot!(findings(&verify(&own_name, &leaves)), @"revision_replaced: the ControllerRevision main-config-2-61cebce2a3 does not hold what was recorded in its place: leaf 2 of the config log says sha256:0848f6.., but it holds sha256:61cebc..");
    let mut elsewhere = revisions(&chain);
    elsewhere[1] = revision(&forged, 5);
    assert_snapshot!(findings(&verify(&elsewhere, &leaves)), @r"
    revision_missing: the ControllerRevision main-config-2-0848f64d21 is gone; leaf 2 of the config log says that it held sha256:0848f6..
    pending_unlinked: the ControllerRevision main-config-5-61cebce2a3 waits for the ledger, but cannot follow: it comes after sha256:5062ec.., the last one at hand is sha256:dde7ee..
    ");
    let mut no_data = revisions(&chain);
    no_data[1].data = None;
    assert_snapshot!(findings(&verify(&no_data, &leaves)), @"revision_replaced: the ControllerRevision main-config-2-0848f64d21 does not hold what was recorded in its place: leaf 2 of the config log says sha256:0848f6.., but it holds no data");
}

#[test]
fn a_revision_that_was_renumbered_or_relabelled_is_found() {
    let chain = snapshots::<2>();
    let leaves = log(&bodies(&chain));
    let mut renumbered = revisions(&chain);
    renumbered[0].revision = 9;
    assert_snapshot!(findings(&verify(&renumbered, &leaves)), @"revision_unreadable: the ControllerRevision main-config-1-5062ecfaa6 cannot be read: it does not have the name main-config-9-5062ecfaa6, which goes with its number and data");
    let mut moved = revisions(&chain);
    moved[0] = revision(&chain[0], 9);
    assert_snapshot!(findings(&verify(&moved, &leaves)), @"revision_misplaced: the ControllerRevision main-config-9-5062ecfaa6 has the number 9 where the ledger has it as snapshot 1");
    let mut relabelled = revisions(&chain);
    relabelled[0].metadata.labels = revision(&other(), 1).metadata.labels;
    assert_snapshot!(findings(&verify(&relabelled, &leaves)), @"revision_unreadable: the ControllerRevision main-config-1-5062ecfaa6 cannot be read: its namespace or labels are not those of ArchiveCore mail/main, of which its data is");
}

#[test]
fn a_fork_is_found_and_the_ledger_decides() {
    let chain = snapshots::<3>();
    let fork = forged(2, Some(&chain[0]));
    let mut both = revisions(&chain);
    both.push(revision(&fork, 2));
    assert_snapshot!(findings(&verify(&both, &log(&bodies(&chain)))), @"revision_unrecorded: the ControllerRevision main-config-2-61cebce2a3 claims to be snapshot 2, a place that another one has");
    // Not decided yet: everybody delivers the older one, by whichever name.
    let at = |second: i64| Some(Time(CreatedAt::from_second(second).unwrap()));
    for (older, newer) in [(&chain[1], &fork), (&fork, &chain[1])] {
        let mut claims = [revision(&chain[0], 1), revision(newer, 2), revision(older, 2)];
        claims[1].metadata.creation_timestamp = at(20);
        claims[2].metadata.creation_timestamp = at(10);
        let verified = verify(&claims, &log(&bodies(&chain[..1])));
        assert_eq!(
            verified.pending.iter().map(|r| r.snapshot.digest()).collect::<Vec<_>>(),
            [older.digest()]
        );
        assert_eq!(verified.findings.len(), 1);
    }
}

#[test]
fn one_that_cannot_follow_does_not_hold_up_one_that_can() {
    let chain = snapshots::<3>();
    let stray = forged(2, None);
    let mut all = revisions(&chain);
    all.insert(0, revision(&stray, 2));
    all[0].metadata.creation_timestamp = Some(Time(CreatedAt::from_second(1).unwrap()));
    let verified = verify(&all, &log(&bodies(&chain[..1])));
    assert_eq!(verified.pending.iter().map(|r| r.ordinal).collect::<Vec<_>>(), [2, 3]);
    assert_snapshot!(findings(&verified), @"revision_unrecorded: the ControllerRevision main-config-2-a912b98e11 claims to be snapshot 2, a place that another one has");
}

#[test]
fn nothing_is_delivered_behind_a_gap() {
    let chain = snapshots::<5>();
    let mut kept = revisions(&chain);
    kept.remove(2);
    let verified = verify(&kept, &log(&bodies(&chain[..1])));
    assert_eq!(verified.pending.iter().map(|r| r.ordinal).collect::<Vec<_>>(), [2]);
    assert_snapshot!(findings(&verified), @"pending_unlinked: the ControllerRevision main-config-4-dde7eea429 waits for the ledger, but cannot follow: it comes after sha256:276fde.., the last one at hand is sha256:0848f6..");
}

#[test]
fn a_log_that_is_no_chain_is_found() {
    let chain = snapshots::<3>();
    let kept = revisions(&chain);
    let [first, second, third] = [0, 1, 2].map(|n| ConfigLeaf::of(&chain[n]).body());
    let check = |bodies: &[&Value]| {
        let bodies: Vec<Value> = bodies.iter().map(|body| (*body).clone()).collect();
        findings(&verify(&kept, &log(&bodies)))
    };
    assert_snapshot!(check(&[&first, &third, &second]), @r"
    revision_misplaced: the ControllerRevision main-config-3-276fde0856 has the number 3 where the ledger has it as snapshot 2
    revision_misplaced: the ControllerRevision main-config-2-0848f64d21 has the number 2 where the ledger has it as snapshot 3
    chain_broken: leaf 2 of the config log breaks the chain: it follows sha256:0848f6.., the one before it in the log is sha256:5062ec..
    chain_broken: leaf 3 of the config log breaks the chain: it follows sha256:5062ec.., the one before it in the log is sha256:276fde..
    ");
    assert_snapshot!(check(&[&first, &first, &second, &third]), @r"
    revision_misplaced: the ControllerRevision main-config-2-0848f64d21 has the number 2 where the ledger has it as snapshot 3
    revision_misplaced: the ControllerRevision main-config-3-276fde0856 has the number 3 where the ledger has it as snapshot 4
    revision_missing: the ControllerRevision main-config-2-5062ecfaa6 is gone; leaf 2 of the config log says that it held sha256:5062ec..
    leaf_repeated: leaf 2 of the config log records the same snapshot as leaf 1
    chain_broken: leaf 2 of the config log breaks the chain: it follows nothing, the one before it in the log is sha256:5062ec..
    ");
    let lying = ConfigLeaf { generation: 7, ..ConfigLeaf::of(&chain[2]) }.body();
    assert_snapshot!(check(&[&first, &second, &lying]), @"leaf_disagrees: leaf 3 of the config log says something else of sha256:276fde.. than that snapshot itself");
    let mut unreadable = second.clone();
    unreadable["generation"] = 2.into();
    assert_snapshot!(check(&[&first, &unreadable]), @"leaf_unreadable: leaf 2 of the config log cannot be read: the leaf's field `generation` is not a decimal number in a string");
    let mut leaves = log(&bodies(&chain));
    leaves.remove(0);
    leaves.remove(1);
    assert_snapshot!(findings(&verify(&kept, &leaves)), @r"
    log_gap: the config log goes on with leaf 1 where leaf 0 belongs
    log_gap: the config log goes on with leaf 3 where leaf 2 belongs
    revision_misplaced: the ControllerRevision main-config-3-276fde0856 has the number 3 where the ledger has it as snapshot 2
    chain_broken: leaf 3 of the config log breaks the chain: it follows sha256:0848f6.., the one before it in the log is sha256:5062ec..
    revision_unrecorded: the ControllerRevision main-config-2-0848f64d21 claims to be snapshot 2, a place that another one has
    ");
}

#[test]
fn generations_that_nobody_lists_are_found() {
    let [first] = snapshots();
    let skipping = after(Some(&first), applied(4));
    let listed = r#""skippedGenerations":[{"first":2,"last":3}]"#;
    let hidden = skipping.canonical().replace(listed, r#""skippedGenerations":[{"first":3,"last":3}]"#);
    let hidden = Snapshot::parse(&hidden).unwrap();
    assert_eq!(
        findings(&verify(&revisions(&[first.clone(), skipping.clone()]), &log(&bodies([&first, &skipping])))),
        ""
    );
    let chain = [first, hidden];
    assert_snapshot!(findings(&verify(&revisions(&chain), &log(&bodies(&chain)))), @"generations_unlisted: snapshot sha256:e1d9e0.. lists these generations as never applied: 3; by the snapshots around it they are: 2-3");
    assert_snapshot!(findings(&verify(&revisions(&chain), &log(&[]))), @"generations_unlisted: snapshot sha256:e1d9e0.. lists these generations as never applied: 3; by the snapshots around it they are: 2-3");
}

#[test]
fn an_object_that_is_made_again_continues_the_chain_of_its_name() {
    let [first, second] = snapshots();
    let again = Applied { uid: "00000000-0000-4000-8000-000000000002".to_owned(), ..applied(1) };
    let again = after(Some(&second), again);
    let chain = [first, second, again];
    assert_eq!(findings(&verify(&revisions(&chain), &log(&bodies(&chain)))), "");
}

#[test]
fn the_next_snapshot_follows_the_last_one_even_if_its_revision_is_gone() {
    let chain = snapshots::<4>();
    let next = |kept: usize, recorded: usize| {
        let verified = verify(&revisions(&chain)[..kept], &log(&bodies(&chain[..recorded])));
        (verified.next_ordinal(), verified.last().map(|last| last.sha256))
    };
    assert_eq!(next(0, 0), (1, None));
    assert_eq!(next(4, 2), (5, Some(chain[3].digest())));
    assert_eq!(next(4, 4), (5, Some(chain[3].digest())));
    assert_eq!(next(2, 3), (4, Some(chain[2].digest())));
    // Without a ledger the revisions alone say it.
    let mut newer = revision(&forged(4, Some(&chain[2])), 4);
    newer.metadata.creation_timestamp = Some(Time(CreatedAt::from_second(1).unwrap()));
    let kept = [vec![newer], revisions(&chain)[2..].to_vec()].concat();
    let last = Revisions::read(&kept).last_of(&subject()).map(|last| (last.ordinal, last.snapshot.digest()));
    assert_eq!(last, Some((4, chain[3].digest())));
    assert_eq!(Revisions::default().last_of(&subject()), None);
}

#[test]
fn history_shows_recorded_missing_and_pending_ones() {
    let chain = snapshots::<3>();
    let mut kept = revisions(&chain);
    kept.remove(0);
    let rows = history(&verify(&kept, &log(&bodies(&chain[..2]))));
    let lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    {"ordinal":1,"sha256":"sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952","standing":"missing","ledgerIndex":1,"recordedAt":"2026-01-02T03:04:06.678Z","uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11","generation":1}
    {"ordinal":2,"sha256":"sha256:0848f64d216892c8ca0dc53000ff2f6726cb1c722d4cf82cada30df05720aadd","standing":"recorded","ledgerIndex":2,"recordedAt":"2026-01-02T03:04:07.678Z","uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11","generation":2,"skippedGenerations":[],"operatorVersion":"0.1.0","clientDeclaredManager":"kubectl-client-side-apply","objects":2}
    {"ordinal":3,"sha256":"sha256:276fde0856f43bd5b68d27dc4757d953ba8554c3c26d8bb54bec836491cd0e07","standing":"pending","ledgerIndex":null,"recordedAt":null,"uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11","generation":3,"skippedGenerations":[],"operatorVersion":"0.1.0","clientDeclaredManager":"kubectl-client-side-apply","objects":2}
    "#);
}

#[test]
fn every_finding_says_what_to_do() {
    let chain = snapshots::<2>();
    let verified = verify(&[], &log(&bodies(&chain[..1])));
    assert_snapshot!(serde_json::to_string(&verified.findings[0]).unwrap(), @r#"{"code":"revision_missing","what":"the ControllerRevision main-config-1-5062ecfaa6 is gone; leaf 1 of the config log says that it held sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952","remedy":"find out who deleted it; the archive still has the snapshot as a config blob under that digest"}"#);
}
