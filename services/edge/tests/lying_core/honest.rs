//! An honest core: everything is archived, proved and pruned, and nothing is sent twice.

use std::time::Duration;

use openarchive_domain::Digest;
use openarchive_edge::sync::{
    SyncOptions,
    limits::{BATCH_MESSAGES_MAX, COMMIT_ITEMS_MAX},
};
use openarchive_ledger::{policy::Policy, receipt::verify_receipt};
use openarchive_testkit::sample_mail::sample_mail;

use super::{
    archive::{ORIGIN, signer},
    service::SharedArchive,
    site::{Site, mail_with_attachment, plain_mail},
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_pruned_and_the_receipts_are_kept_and_convince_a_stranger() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    let mails = sample_mail(1, 60);
    let mut seats = Vec::new();
    for mail in &mails {
        seats.push((site.accept(&mail.bytes).await, Digest::of(&mail.bytes)));
    }
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    assert_eq!(site.buffer.stats().await.unwrap().bytes, 0);
    let policy = Policy::of_logs(vec![signer(ORIGIN, 1).verifier().clone()]);
    for (seat, message) in seats {
        let receipt = site.buffer.receipt(seat.agent_epoch, seat.seq).await.unwrap().unwrap();
        let verified = verify_receipt(&receipt.receipt, Some(&policy), &message).unwrap();
        assert_eq!((verified.index, verified.leaf.seat), (receipt.leaf_index, seat));
        assert_eq!(verified.envelope.to, ["b@example.org", "bcc@example.org"]);
    }
    assert_eq!(archive.lock().observations(), 60);
    let stats = site.monitor().stats();
    assert_eq!((stats.offered, stats.committed, stats.duplicates, stats.failures), (60, 60, 0, 0));
    assert!(stats.last_answer.is_some());
    // Mail that comes later wakes the worker up.
    site.accept(&plain_mail(1)).await;
    site.wait_until_drained().await;
    assert_eq!(site.kinds_of_alarm().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_with_the_same_attachment_upload_it_once() {
    let archive = SharedArchive::new();
    let (one, other) = (archive.serve("acme/mx1", 0), archive.serve("acme/mx2", 0));
    let (mut first, mut second) = (Site::new("acme/mx1"), Site::new("acme/mx2"));
    for n in 0..5 {
        first.accept(&mail_with_attachment(&format!("first {n}"), 7)).await;
        second.accept(&mail_with_attachment(&format!("second {n}"), 7)).await;
    }
    let attachment = first.pending().await[0].parts[0];
    assert!(
        first.pending().await.iter().chain(&second.pending().await).all(|mail| mail.parts == [attachment])
    );
    first.sync(one.channel()).await;
    first.wait_until_drained().await;
    second.sync(other.channel()).await;
    second.wait_until_drained().await;

    let uploads = archive.lock().uploads.clone();
    assert_eq!(uploads.iter().filter(|digest| **digest == attachment.digest).count(), 1);
    assert_eq!(uploads.len(), 11, "ten skeletons and one attachment");
    let (first, second) = (first.monitor().stats(), second.monitor().stats());
    assert_eq!((first.uploaded_blobs, first.skipped_blobs), (6, 4));
    assert_eq!((second.uploaded_blobs, second.skipped_blobs), (5, 5));
    assert!(first.uploaded_bytes > 40_000 && second.uploaded_bytes < 40_000);
    assert_eq!(archive.lock().counted(), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_again_is_one_more_observation_and_nothing_is_uploaded() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    site.sync(serving.channel()).await;
    for _ in 0..2 {
        for n in 0..4 {
            site.accept(&mail_with_attachment(&n.to_string(), n)).await;
        }
        site.wait_until_drained().await;
    }
    let stats = site.monitor().stats();
    assert_eq!((stats.committed, stats.duplicates, stats.uploaded_blobs), (8, 4, 8));
    assert_eq!(archive.lock().counted(), (4, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_part_goes_over_in_pieces_and_streams() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    let mut large = b"Subject: large\r\nContent-Type: application/octet-stream\r\n\r\n".to_vec();
    large.extend((0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    site.accept(&large).await;
    for n in 0..40 {
        site.accept(&mail_with_attachment("many", 100 + n)).await;
    }
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    assert_eq!(archive.lock().messages(), 41);
    assert_eq!(site.monitor().stats().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_is_archived_in_several_batches() {
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    let count = 2 * BATCH_MESSAGES_MAX + 100;
    for n in 0..count {
        site.accept(&plain_mail(n as u64)).await;
    }
    let begin = std::time::Instant::now();
    site.sync(serving.channel()).await;
    site.wait_until_drained().await;
    println!("{:.0} mails/s", count as f64 / begin.elapsed().as_secs_f64());
    assert_eq!(archive.lock().counted(), (count, count));
    assert_eq!(site.monitor().stats().offered, count as u64);
    assert!(archive.lock().commit_calls >= count.div_ceil(COMMIT_ITEMS_MAX) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_is_told_how_far_an_agent_has_come_while_it_sends_a_backlog() {
    const MAILS: u64 = 200;
    let archive = SharedArchive::new();
    let serving = archive.serve("acme/mx1", 0);
    let mut site = Site::new("acme/mx1");
    for n in 0..MAILS {
        site.accept(&plain_mail(n)).await;
    }
    site.sync_with(serving.channel(), |options| SyncOptions {
        batch_messages_max: 1,
        report_interval: Duration::from_millis(1),
        ..options
    })
    .await;
    site.wait_until_drained().await;
    let archive = archive.lock();
    // One pass sends all, and its end is the first moment with an empty buffer.
    let underway = archive.reports.iter().filter(|report| (1..MAILS).contains(&report.buffered_messages));
    assert!(underway.count() >= 2, "{:?}", archive.reports);
    assert_eq!(archive.counted(), (MAILS as usize, MAILS as usize));
    assert_eq!(site.monitor().stats().offered, MAILS, "nothing is sent twice");
}
