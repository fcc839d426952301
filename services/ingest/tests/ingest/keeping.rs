//! How long mail is kept: its class, and the locks of what it shares with earlier mail.

use std::sync::Arc;

use openarchive_domain::{FixedClock, RetentionClass};
use openarchive_proto::ingest::v1::{CommitItem, CommitMessagesRequest, commit_result::Outcome};
use openarchive_rpc::has_reason;

use crate::{
    agent::{Blob, Mail, class, noise, receipt},
    archive::Archive,
};
use openarchive_proto::ingest::v1::BlobRole;

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_stands_keeps_the_class_of_its_leaf_when_the_rule_changes() {
    let mut archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::with_attachment(1, &noise(1, 3_000));
    let stood = agent.archive(&[(1, &mail)]).await;
    let newer: RetentionClass = "1y-received-permitted".parse().unwrap();
    archive.restart_with(newer).await;
    let agent = archive.agent("acme/mx1");

    // The agent lost the answer and offers again; the same mail once more is another observation, of today's class.
    let offers = vec![mail.offer(agent.seat(1)), mail.offer(agent.seat(2))];
    let answers = agent.offers(offers).await.unwrap();
    assert_eq!((&answers[0].class, answers[0].skeleton_missing), (&class(), false));
    assert_eq!(answers[0].missing_parts.len(), 0);
    assert_eq!((&answers[1].class, answers[1].skeleton_missing), (&newer.to_string(), true));
    assert_eq!(answers[1].missing_parts.len(), 1);

    let commit = async |seq, class: String| {
        let items = vec![CommitItem { offer: Some(mail.offer(agent.seat(seq))), class }];
        let answer = agent.client.clone().commit_messages(CommitMessagesRequest { items }).await;
        answer.map(|answer| answer.into_inner().results)
    };
    let results = commit(1, class()).await.unwrap();
    let again = agent.check(1, &mail, &receipt(&results[0]), &agent.log_key().await);
    assert_eq!(again.index, stood[0].index);
    for (seq, class) in [(1, newer.to_string()), (2, class())] {
        assert!(has_reason(&commit(seq, class).await.unwrap_err(), "CLASS_CHANGED"));
    }
}

/// Until when the packs are locked that hold the part, the one in use and older ones: earliest first.
async fn locks(archive: &Archive) -> Vec<String> {
    sqlx::query_scalar(
        "select to_char(to_timestamp(coalesce(extended.lock_until, pack.lock_until) / 1000) at time zone 'utc',
           'YYYY-MM-DD')
         from (select pack_id, kind from storage.pack_entry union all select pack_id, kind from storage.pack_copy) entry
         join storage.pack using (pack_id) left join storage.pack_lock extended using (pack_id)
         where entry.kind = 1 order by 1",
    )
    .fetch_all(&archive.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_part_is_kept_as_long_as_the_latest_mail_or_asked_for_again() {
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let archive = Archive::start_at(clock.clone()).await;
    let agent = archive.agent("acme/mx1");
    let logo = noise(1, 3_000);
    let mails = [1, 2, 3].map(|number| Mail::with_attachment(number, &logo));
    let (digest, part) = mails[0].parts.first_key_value().unwrap();
    agent.upload(&mails[0].blobs()[..1]).await.unwrap();
    agent.archive(&[(1, &mails[0])]).await;
    assert_eq!(locks(&archive).await, ["2036-02-01"]);

    // Within a year: the receipt says that the mail is kept, so the part's pack is, too.
    clock.set("2026-12-20T00:00:00.000Z".parse().unwrap());
    let answers = agent.offers(vec![mails[1].offer(agent.seat(2))]).await.unwrap();
    assert_eq!(answers[0].missing_parts.len(), 0);
    agent.archive(&[(2, &mails[1])]).await;
    assert_eq!(locks(&archive).await, ["2037-01-01"]);

    // Later: nothing is promised before the part is stored again.
    clock.set("2027-02-01T00:00:00.001Z".parse().unwrap());
    agent
        .upload(&[Blob { role: BlobRole::Skeleton, bytes: mails[2].split.skeleton.encode() }])
        .await
        .unwrap();
    let offer = || mails[2].offer(agent.seat(3));
    let answers = agent.offers(vec![offer()]).await.unwrap();
    assert_eq!(answers[0].missing_parts, [digest.as_bytes().to_vec()]);
    let results = agent.commit_offers(vec![offer()]).await.unwrap();
    match &results[0].outcome {
        Some(Outcome::Missing(missing)) => assert_eq!(missing.parts, [digest.as_bytes().to_vec()]),
        other => panic!("{other:?}"),
    }
    let stored = agent.upload(&[Blob { role: BlobRole::Part, bytes: part.clone() }]).await.unwrap();
    assert_eq!(stored.stored, 1);
    agent.archive(&[(3, &mails[2])]).await;
    // The old copy's pack is not kept for the new mail.
    assert_eq!(locks(&archive).await, ["2037-01-01", "2037-03-01"]);
    for mail in &mails {
        assert_eq!(archive.open(mail.key()).await.unwrap(), mail.bytes);
    }
    assert_eq!(archive.fsck().await, []);
}
