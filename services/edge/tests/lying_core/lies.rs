//! For each lie: nothing is pruned, the alarm is up, both checkpoints are kept, sync halts, mail is still accepted.

use openarchive_edge::sync::{AlarmKind, clear_alarm};

use super::{
    archive::{Lie, ORIGIN},
    service::SharedArchive,
    site::{Site, plain_mail, wait_until},
};

/// Whether the lie comes with a checkpoint that is kept as evidence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspect {
    Kept,
    None,
}

/// An agent that has archived three mails with an honest core meets a lying one.
async fn check(lie: Lie, kind: AlarmKind, suspect: Suspect) {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..3 {
        site.accept(&plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    let known = site.buffer.checkpoint(ORIGIN).await.unwrap();
    assert!(known.is_some());
    // What comes next is answered with the lie.
    archive.lock().lie = Some(lie);
    let seats = [site.accept(&plain_mail(10)).await, site.accept(&plain_mail(11)).await];
    wait_until("sync halts", async || site.is_halted()).await;
    let commit_calls = archive.lock().commit_calls;

    let pending = site.pending().await;
    assert_eq!(pending.len(), 2, "{lie:?}: nothing is pruned");
    for seat in seats {
        assert_eq!(
            site.buffer.receipt(seat.agent_epoch, seat.seq).await.unwrap(),
            None,
            "{lie:?}: no receipt is kept"
        );
    }
    assert_eq!(site.kinds_of_alarm().await, [kind.as_str()], "{lie:?}");
    assert!(kind.halts_sync());
    assert_eq!(site.buffer.checkpoint(ORIGIN).await.unwrap(), known, "{lie:?}: the known checkpoint stays");
    let suspects = site.buffer.suspects().await.unwrap();
    assert_eq!(!suspects.is_empty(), suspect == Suspect::Kept, "{lie:?}");
    assert!(suspects.iter().all(|suspect| suspect.origin == ORIGIN && Some(&suspect.note) != known.as_ref()));

    // Mail is accepted all the while, and a restart does not make the agent forget.
    site.accept(&plain_mail(12)).await;
    site.sync(serving.channel()).await;
    wait_until("sync halts again", async || site.is_halted()).await;
    assert_eq!(site.pending().await.len(), 3, "{lie:?}");
    assert_eq!(archive.lock().commit_calls, commit_calls, "{lie:?}: a halted agent does not even ask");

    // A person clears the alarm, but the core still lies.
    clear_alarm(&site.buffer, kind).await.unwrap();
    wait_until("the alarm comes back", async || !site.kinds_of_alarm().await.is_empty()).await;
    assert_eq!(site.pending().await.len(), 3, "{lie:?}: nothing is pruned");
    assert_eq!(site.buffer.checkpoint(ORIGIN).await.unwrap(), known, "{lie:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_with_the_digest_of_another_mail() {
    check(Lie::WrongDigest, AlarmKind::ReceiptBadOpening, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_without_the_recipients() {
    check(Lie::OtherEnvelope, AlarmKind::ReceiptBadOpening, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_leaf() {
    check(Lie::OtherTenant, AlarmKind::ReceiptOfOtherMail, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agents_leaf() {
    check(Lie::OtherAgent, AlarmKind::ReceiptOfOtherMail, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_of_another_number_or_class() {
    check(Lie::OtherSeq, AlarmKind::ReceiptOfOtherMail, Suspect::Kept).await;
    check(Lie::OtherClass, AlarmKind::ReceiptOfOtherMail, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_checkpoint() {
    check(Lie::OldCheckpoint, AlarmKind::LogRolledBack, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_tree() {
    check(Lie::ForkedTree, AlarmKind::LogForked, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_opening() {
    check(Lie::BadOpening, AlarmKind::ReceiptBadOpening, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proof() {
    check(Lie::NoProof, AlarmKind::ReceiptMissing, Suspect::None).await;
    check(Lie::NoOutcome, AlarmKind::ReceiptMissing, Suspect::None).await;
    check(Lie::NoResults, AlarmKind::ReceiptMissing, Suspect::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key() {
    check(Lie::ForeignKey, AlarmKind::ReceiptForeignKey, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_out_of_another_log() {
    check(Lie::OtherLog, AlarmKind::ReceiptOfOtherLog, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_is_not_in_the_tree() {
    check(Lie::NotInTree, AlarmKind::ReceiptNotInTree, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_that_is_not_shown_or_shown_wrongly() {
    check(Lie::NoConsistency, AlarmKind::LogGrowthUnproved, Suspect::Kept).await;
    check(Lie::WrongConsistency, AlarmKind::LogForked, Suspect::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_is_no_larger_than_the_known_tree() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.accept(&plain_mail(0)).await;
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    archive.lock().lie = Some(Lie::ForkedTreeOfTheSameSize);
    site.accept(&plain_mail(1)).await;
    wait_until("sync halts", async || site.is_halted()).await;
    assert_eq!(site.kinds_of_alarm().await, [AlarmKind::LogForked.as_str()]);
    assert_eq!(site.pending().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_at_the_very_first_receipt() {
    for (lie, kind) in [
        (Lie::ForeignKey, AlarmKind::ReceiptForeignKey),
        (Lie::OtherAgent, AlarmKind::ReceiptOfOtherMail),
        (Lie::NoProof, AlarmKind::ReceiptMissing),
    ] {
        let archive = SharedArchive::new();
        archive.lock().lie = Some(lie);
        let serving = archive.serve("acme/mx1", 0);
        let mut site = Site::new("acme/mx1");
        site.accept(&plain_mail(0)).await;
        site.sync(serving.channel()).await;
        wait_until("sync halts", async || site.is_halted()).await;
        assert_eq!(site.kinds_of_alarm().await, [kind.as_str()]);
        assert_eq!(site.pending().await.len(), 1);
        assert_eq!(site.buffer.checkpoint(ORIGIN).await.unwrap(), None, "a lie is nothing to go by");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_alarm_is_cleared_and_the_core_honest_again_everything_drains() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    archive.lock().lie = Some(Lie::NoProof);
    for n in 0..5 {
        site.accept(&plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    wait_until("sync halts", async || site.is_halted()).await;
    archive.lock().lie = None;
    clear_alarm(&site.buffer, AlarmKind::ReceiptMissing).await.unwrap();
    site.wait_until_drained().await;
    assert_eq!(archive.lock().observations(), 5);
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
}
