//! Commits that meet each other.

use std::collections::BTreeSet;

use openarchive_ledger::leaf::MessageState;
use openarchive_proto::ingest::v1::{SeatTaken, commit_result::Outcome};

use crate::{
    agent::{Mail, receipt},
    archive::Archive,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_with_the_same_mails_store_each_once() {
    let archive = Archive::start().await;
    let (one, two) = (archive.agent("acme/mx1"), archive.agent("acme/mx2"));
    let mails: Vec<Mail> = (0..40).map(Mail::plain).collect();
    let forwards: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    // In opposite orders, so that locks taken in the order of items would meet head-on.
    let backwards: Vec<(u64, &Mail)> = (1..).zip(mails.iter().rev()).collect();
    let (first, second) = tokio::join!(one.archive(&forwards), two.archive(&backwards));
    for (position, mail) in mails.iter().enumerate() {
        let states: BTreeSet<MessageState> =
            [first[position].state, second[mails.len() - 1 - position].state].into();
        assert_eq!(states, [MessageState::Stored, MessageState::Duplicate].into(), "{position}");
        assert_eq!(archive.get(mail.key()).await.unwrap().observations.len(), 2);
    }
    assert_eq!(archive.count("ingest.message").await, 40);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_for_one_seat_at_the_same_time_make_one_observation() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let (mail, other) = (Mail::plain(1), Mail::plain(2));
    agent.upload(&[mail.blobs(), other.blobs()].concat()).await.unwrap();
    let calls = (0..8).map(|call| {
        let (agent, mail) = (agent.clone(), if call % 2 == 0 { mail.clone() } else { other.clone() });
        tokio::spawn(async move {
            let result = agent.commit(&[(1, &mail)]).await.unwrap().remove(0);
            (mail, result)
        })
    });
    let mut receipts = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let (mail, result) = call.await.unwrap();
        if result.outcome == Some(Outcome::SeatTaken(SeatTaken {})) {
            continue;
        }
        receipts.push((mail, receipt(&result)));
    }
    // The mail that came first has all the receipts, and they are of one leaf.
    assert_eq!(receipts.len(), 4);
    let log_key = agent.log_key().await;
    let leaves: BTreeSet<u64> =
        receipts.iter().map(|(mail, receipt)| agent.check(1, mail, receipt, &log_key).index).collect();
    assert_eq!(leaves.len(), 1);
    assert_eq!(archive.count("ingest.observation").await, 1);
    // The mail that lost the seat has left no message without an observation.
    assert_eq!(archive.count("ingest.message").await, 1);
    assert_eq!(archive.fsck().await, []);
}
