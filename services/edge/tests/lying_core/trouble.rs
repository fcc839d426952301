//! Cores that are away, forgetful or broken, and a disk that was rolled back: nothing is lost, nothing counted twice.

use std::time::Duration;

use openarchive_edge::sync::{AlarmKind, SyncOptions, SyncState, limits::COMMIT_ITEMS_MAX};

use super::{
    archive::Fault,
    service::SharedArchive,
    site::{Site, digest_of, mail_with_attachment, plain_mail, wait_until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_was_killed_finds_everything_waiting_when_it_is_back() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.sync(serving.channel()).await;
    site.accept(&plain_mail(0)).await;
    site.wait_until_drained().await;
    let port = serving.address.port();
    drop(serving);
    for n in 1..50 {
        site.accept(&plain_mail(n)).await;
    }
    wait_until("sync backs off", async || site.monitor().stats().state == SyncState::BackingOff).await;
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new(), "to be away is normal");
    let _serving = archive.serve("acme/mx1", port);
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted(), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_anywhere_repeats_itself_without_harm() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..200 {
        site.accept(&mail_with_attachment(&n.to_string(), n % 20)).await;
    }
    // Cut off earlier and later on its way.
    for step in 0..8 {
        site.sync(serving.channel()).await;
        let offered = 10 * step;
        wait_until("something was offered", async || site.monitor().stats().offered >= offered).await;
        site.stop().await;
    }
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted(), (200, 200));
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_got_lost_between_upload_and_commit_are_sent_again() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::LosesUploads);
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.accept(&mail_with_attachment("lost", 1)).await;
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().uploads.len(), 4, "skeleton and attachment, twice");
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_the_core_cannot_rebuild_is_sent_whole() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::CannotRebuild);
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    let mail = mail_with_attachment("whole", 1);
    let seat = site.accept(&mail).await;
    site.accept(&plain_mail(1)).await;
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    assert!(archive.lock().uploads.contains(&digest_of(&mail)), "the whole mail is one part");
    let receipt = site.buffer.receipt(seat.agent_epoch, seat.seq).await.unwrap().unwrap();
    assert_eq!(receipt.message, digest_of(&mail));
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_rebuilt_even_whole_raises_an_alarm_and_stays() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::CannotRebuildAtAll);
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.accept(&mail_with_attachment("never", 1)).await;
    site.sync(serving.channel()).await;
    wait_until("the alarm is up", async || site.kinds_of_alarm().await == [AlarmKind::Mismatch.as_str()])
        .await;
    assert_eq!(site.pending().await.len(), 1);
    // Set aside, not given up: tried again with a later report.
    archive.lock().fault = None;
    site.wait_until_drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mail_that_the_core_refuses_does_not_hold_up_the_others() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::RefusesSender("poison@example.org"));
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..10 {
        site.accept_from(if n == 4 { "poison@example.org" } else { "a@example.org" }, &plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    wait_until("the others are archived", async || site.pending().await.len() == 1).await;
    assert_eq!(site.pending().await[0].seat.seq, 5);
    assert_eq!(site.kinds_of_alarm().await, [AlarmKind::MailRefused.as_str()]);
    site.accept(&plain_mail(11)).await;
    wait_until("what comes later is archived too", async || site.pending().await.len() == 1).await;
    archive.lock().fault = None;
    site.wait_until_drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_mail_that_is_set_aside_the_others_go_many_at_a_time() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::RefusesSender("poison@example.org"));
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..300 {
        site.accept_from(if n == 100 { "poison@example.org" } else { "a@example.org" }, &plain_mail(n)).await;
    }
    let once = |options| SyncOptions { report_interval: Duration::from_hours(1), ..options };
    site.sync_with(serving.channel(), once).await;
    wait_until("the others are archived", async || site.pending().await.len() == 1).await;
    // Each commit waits for a checkpoint of the core.
    let commit_calls = archive.lock().commit_calls;
    assert!(commit_calls <= 40, "{commit_calls} calls for 299 mails");
    assert_eq!(site.kinds_of_alarm().await, [AlarmKind::MailRefused.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_class_never_settles_is_found_out_while_others_keep_coming() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::KeepsChangingClass("torn@example.org"));
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.accept_from("torn@example.org", &plain_mail(0)).await;
    let mut count = 2 * COMMIT_ITEMS_MAX as u64;
    for n in 1..count {
        site.accept(&plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    wait_until("the alarm is up", async || {
        site.accept(&plain_mail(count)).await;
        count += 1;
        site.kinds_of_alarm().await == [AlarmKind::ClassKeepsChanging.as_str()]
    })
    .await;
    wait_until("its neighbours are archived", async || site.pending().await.len() == 1).await;
    assert_eq!(site.pending().await[0].seat.seq, 1);
    archive.lock().fault = None;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted().1, count as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mail_whose_class_never_settles_raises_an_alarm_and_does_not_hold_up_the_others() {
    let archive = SharedArchive::new();
    archive.lock().fault = Some(Fault::KeepsChangingClass("torn@example.org"));
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..10 {
        site.accept_from(if n == 4 { "torn@example.org" } else { "a@example.org" }, &plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    wait_until("the others are archived", async || site.pending().await.len() == 1).await;
    assert_eq!(site.pending().await[0].seat.seq, 5);
    wait_until("the alarm is up", async || !site.kinds_of_alarm().await.is_empty()).await;
    assert_eq!(site.kinds_of_alarm().await, [AlarmKind::ClassKeepsChanging.as_str()]);
    // Set aside, not given up.
    archive.lock().fault = None;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted(), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_disk_opens_a_new_epoch_and_no_mail_takes_anothers_number() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.accept(&plain_mail(0)).await;
    site.accept(&plain_mail(1)).await;
    let snapshot = site.snapshot();
    for n in 2..6 {
        site.accept(&plain_mail(n)).await;
    }
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    site.stop().await;

    let mut site = Site::restored("acme/mx1", snapshot);
    let epoch = site.buffer.stats().await.unwrap().agent_epoch;
    // Comes before the core could be asked, and gets a number that the core knows to be another mail's.
    let early = site.accept(&plain_mail(20)).await;
    assert_eq!((early.agent_epoch, early.seq), (epoch, 3));
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    let stats = site.buffer.stats().await.unwrap();
    assert_ne!(stats.agent_epoch, epoch);
    assert_eq!(stats.highest_seq, 1, "the early mail was given a number of the new epoch");
    let late = site.accept(&plain_mail(21)).await;
    assert_eq!((late.agent_epoch, late.seq), (stats.agent_epoch, 2));
    site.wait_until_drained().await;
    assert_eq!(site.kinds_of_alarm().await, [AlarmKind::DiskRolledBack.as_str()]);
    // Six before, two that came again under their own numbers, two new ones.
    assert_eq!(archive.lock().counted(), (8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_the_current_epoch_that_is_anothers_raises_an_alarm_and_the_mail_stays() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    let snapshot = site.snapshot();
    site.accept(&plain_mail(0)).await;
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    site.stop().await;
    // The copy counts as far as the original did, so nothing shows that it is a copy.
    let mut copy = Site::restored("acme/mx1", snapshot);
    copy.accept(&plain_mail(1)).await;
    copy.accept(&plain_mail(2)).await;
    copy.sync(serving.channel()).await;
    wait_until("the alarm is up", async || copy.kinds_of_alarm().await == [AlarmKind::SeatTaken.as_str()])
        .await;
    wait_until("the other mail is archived", async || copy.pending().await.len() == 1).await;
    assert_eq!(copy.pending().await[0].message, digest_of(&plain_mail(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_away_for_single_calls_gets_everything_once_all_the_same() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.sync(serving.channel()).await;
    for round in 0..10 {
        archive.lock().fault = Some(Fault::Away);
        for n in 0..10 {
            site.accept(&mail_with_attachment(&format!("{round} {n}"), n)).await;
        }
        archive.lock().fault = None;
    }
    site.wait_until_drained().await;
    assert_eq!(archive.lock().counted(), (100, 100));
}
