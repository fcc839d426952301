//! The catalogue made again from storage and the log.

use openarchive_ingest::{Finding, RebuildReport};
use openarchive_ledger::leaf::MessageState;
use openarchive_proto::ingest::v1::{GetMessageResponse, MessageSummary, State};
use tonic::Code;

use crate::{
    agent::{Mail, noise, receipt},
    archive::{Archive, tenant},
    faults::Fails,
};

const FORGET: &str = "truncate ingest.message, ingest.message_part, ingest.participant, ingest.observation, \
     ingest.agent, ingest.outbox restart identity cascade; truncate jobs.job;";

/// Everything that a reader can see of the archive, ordinals apart.
async fn answers(archive: &Archive, mails: &[Mail]) -> Vec<(GetMessageResponse, Vec<u8>)> {
    let mut answers = Vec::new();
    for mail in mails {
        let mut shown = archive.get(mail.key()).await.unwrap();
        shown.message.as_mut().unwrap().ordinal = 0;
        answers.push((shown, archive.open(mail.key()).await.unwrap()));
    }
    answers
}

async fn table(archive: &Archive, name: &str) -> Vec<String> {
    let sql = format!("select t::text from {name} t order by 1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&archive.pool).await.unwrap()
}

fn digests(messages: &[MessageSummary]) -> Vec<Vec<u8>> {
    messages.iter().map(|message| message.message.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_catalogue_is_rebuilt_with_the_same_answers_and_old_receipts_still_verify() {
    let archive = Archive::start().await;
    let (one, two) = (archive.agent("acme/mx1"), archive.agent("acme/mx2"));
    let mails: Vec<Mail> = (0..5)
        .map(|number| match number {
            0..3 => Mail::plain(number),
            _ => Mail::with_attachment(number, &noise(1, 20_000)),
        })
        .collect();
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    one.archive(&numbered).await;
    two.archive(&[(1, &mails[0]), (2, &mails[4])]).await;
    let mut quarantined = mails[1].offer(two.seat(3));
    quarantined.set_state(State::Quarantined);
    quarantined.reason = "no mode fits".into();
    receipt(&two.commit_offers(vec![quarantined]).await.unwrap()[0]);
    let old = one.commit(&numbered).await.unwrap();
    let before = answers(&archive, &mails).await;
    let order = digests(&archive.list().await);
    let tables = ["ingest.message_part", "ingest.participant", "ingest.observation"];
    let mut rows = Vec::new();
    for name in tables {
        rows.push(table(&archive, name).await);
    }
    archive.execute(FORGET).await;
    let report = archive.rebuild().await;
    assert_eq!(report, RebuildReport { restored: 8, ..RebuildReport::default() });
    assert!(answers(&archive, &mails).await == before, "answers differ");
    assert_eq!(digests(&archive.list().await), order);
    for (name, rows) in tables.iter().zip(rows) {
        assert_eq!(table(&archive, name).await, rows, "{name}");
    }
    let indexed = "(select distinct payload from jobs.job where kind = 'index') as message";
    assert_eq!(archive.count(indexed).await, 5);
    assert_eq!(archive.fsck().await, []);
    // Receipts from before verify, and new ones are of the same leaves.
    let checked = one.check_all(&numbered, &old).await;
    let fresh = one.commit(&numbered).await.unwrap();
    let fresh = one.check_all(&numbered, &fresh).await;
    for (old, fresh) in checked.iter().zip(&fresh) {
        assert_eq!((old.index, old.time, old.state), (fresh.index, fresh.time, fresh.state));
    }
    // Agents are told how far they had come, and a second run has nothing to do.
    assert_eq!(two.report(0).await.unwrap().highest_seq, 3);
    assert_eq!(archive.rebuild().await, RebuildReport::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_where_another_stopped() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails: Vec<Mail> = (0..6).map(Mail::plain).collect();
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    agent.archive(&numbered).await;
    archive
        .execute("delete from ingest.observation where seq > 2; delete from ingest.participant where message not in
             (select message from ingest.observation); delete from ingest.message where message not in
             (select message from ingest.observation);")
        .await;
    assert_eq!(archive.rebuild().await, RebuildReport { restored: 4, ..RebuildReport::default() });
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_observation_blobs_the_one_that_opens_the_leaf_counts() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    agent.upload(&mail.blobs()).await.unwrap();
    // The first attempt leaves its blob behind, the second is recorded with another salt.
    archive.faults.plan("PutBlobs", Fails::After);
    agent.commit(&[(1, &mail)]).await.unwrap_err();
    agent.archive(&[(1, &mail)]).await;
    let blobs = "storage.pack_entry where kind = 3";
    assert_eq!(archive.count(blobs).await, 2);
    archive.execute(FORGET).await;
    let expected = RebuildReport { restored: 1, unreferenced: 1, ..RebuildReport::default() };
    assert_eq!(archive.rebuild().await, expected);
    assert_eq!(archive.fsck().await, []);
    agent.archive(&[(1, &mail)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_older_than_the_log_gives_no_receipt_until_it_is_rebuilt() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails = [Mail::plain(1), Mail::plain(2)];
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    let old = agent.archive(&numbered).await;
    archive.execute(FORGET).await;
    // The agent comes back before the rebuild: its seat has a leaf that a fresh salt cannot open.
    let status = agent.commit(&numbered[..1]).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    let found = archive.fsck().await;
    assert!(found.contains(&Finding::LeafNotOpened { tenant: tenant(), index: old[0].index }), "{found:?}");
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage), (2, Vec::new()));
    assert_eq!(archive.fsck().await, []);
    let fresh = agent.archive(&numbered).await;
    assert_eq!(fresh[0].time, old[0].time);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_without_a_leaf_gets_its_leaf_if_its_message_is_complete() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let (mail, known) = (Mail::plain(1), Mail::plain(2));
    agent.archive(&[(1, &known)]).await;
    agent.upload(&mail.blobs()).await.unwrap();
    // Durable, but neither recorded nor in the log: twice, so that two blobs stand for one seat.
    for _ in 0..2 {
        archive.faults.plan("PutBlobs", Fails::After);
        agent.commit(&[(2, &mail)]).await.unwrap_err();
    }
    archive.faults.plan("PutBlobs", Fails::After);
    agent.commit(&[(3, &known)]).await.unwrap_err();
    archive.execute(FORGET).await;
    let expected = RebuildReport { restored: 1, recorded: 2, unreferenced: 1, ..RebuildReport::default() };
    assert_eq!(archive.rebuild().await, expected);
    assert_eq!(archive.fsck().await, []);
    assert_eq!(archive.count("ingest.outbox").await, 0);
    // The agent, which never had a receipt, comes back and gets one.
    let checked = agent.archive(&[(2, &mail), (3, &known)]).await;
    assert_eq!(checked[0].state, MessageState::Stored);
    assert_eq!(checked[1].state, MessageState::Duplicate);
    assert_eq!(archive.count("ingest.observation").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_named() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails = [Mail::plain(1), Mail::plain(2)];
    let first = agent.archive(&[(1, &mails[0])]).await.remove(0);
    agent.archive(&[(2, &mails[1])]).await;
    archive
        .execute(
            "delete from storage.pack_entry e using ingest.observation o where o.seq = 1 and e.digest = o.record;
             delete from storage.pack_entry e using ingest.message m, ingest.observation o
               where o.seq = 2 and o.message = m.message and e.digest = m.skeleton;",
        )
        .await;
    archive.execute(FORGET).await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage.len()), (0, 3));
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    assert!(damage[0].contains(&mails[1].digest().to_string()), "{damage:?}");
    assert!(damage[1].contains(&format!("leaf {}", first.index)), "{damage:?}");
}
