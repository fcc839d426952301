//! A commit that ends between any two of its steps, and is repeated.

use crate::{
    agent::{Mail, noise},
    archive::Archive,
    faults::Fails,
};

/// A call to another service that fails, or a statement of ingest's own that the database refuses once.
enum Step {
    Call(&'static str, Fails),
    Statement { event: &'static str, table: &'static str },
}

const STEPS: [Step; 13] = [
    Step::Call("ExtendLock", Fails::Before),
    Step::Call("GetBlob", Fails::Before),
    Step::Call("PutBlobs", Fails::Before),
    Step::Call("PutBlobs", Fails::After),
    Step::Statement { event: "insert", table: "ingest.message" },
    Step::Statement { event: "insert", table: "ingest.outbox" },
    Step::Statement { event: "insert", table: "jobs.job" },
    Step::Call("Append", Fails::Before),
    Step::Call("Append", Fails::After),
    Step::Statement { event: "update", table: "ingest.observation" },
    Step::Call("GetInclusionProofs", Fails::Before),
    Step::Call("GetInclusionProofs", Fails::After),
    Step::Call("ListLeaves", Fails::Before),
];

/// Makes the next such statement fail, once: the sequence survives the rollback.
async fn refuse_once(archive: &Archive, event: &str, table: &str) {
    archive
        .execute(&format!(
            "create sequence refused;
             create function refuse() returns trigger language plpgsql as $$ begin
               if nextval('refused') = 1 then raise exception 'a planned fault'; end if;
               return null;
             end $$;
             create trigger refuse after {event} on {table} for each statement execute function refuse();"
        ))
        .await;
}

async fn refuse_no_more(archive: &Archive, table: &str) {
    archive
        .execute(&format!("drop trigger refuse on {table}; drop function refuse; drop sequence refused;"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_ends_anywhere_and_is_repeated_makes_one_observation() {
    let mut archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mut seq = 0;
    for (number, step) in (0..).zip(&STEPS) {
        seq += 2;
        let (mail, attached) =
            (Mail::plain(number), Mail::with_attachment(number, &noise(u64::from(number), 3_000)));
        let mails = [(seq - 1, &mail), (seq, &attached)];
        agent.upload(&[mail.blobs(), attached.blobs()].concat()).await.unwrap();
        match step {
            Step::Call(method, fails) => {
                // Leaves are listed only for observations that stood before.
                if *method == "ListLeaves" {
                    agent.commit(&mails).await.unwrap();
                }
                archive.faults.plan(method, *fails);
                agent.commit(&mails).await.expect_err(method);
                assert!(archive.faults.is_spent(), "{method}");
            }
            Step::Statement { event, table } => {
                refuse_once(&archive, event, table).await;
                agent.commit(&mails).await.expect_err(table);
                refuse_no_more(&archive, table).await;
            }
        }
        // Another process goes on.
        archive.restart().await;
        let agent = archive.agent("acme/mx1");
        let results = agent.commit(&mails).await.unwrap();
        agent.check_all(&mails, &results).await;
        assert_eq!(archive.count("ingest.observation").await, i64::try_from(seq).unwrap());
        assert_eq!(archive.count("ingest.message").await, i64::try_from(seq).unwrap());
    }
    assert_eq!(
        archive.count("trust.leaf where encode(body, 'escape') like '%\"kind\":\"message\"%'").await,
        i64::try_from(seq).unwrap()
    );
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_outbox_is_sent_at_the_next_start() {
    let mut archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    agent.upload(&mail.blobs()).await.unwrap();
    archive.faults.plan("Append", Fails::Before);
    agent.commit(&[(1, &mail)]).await.unwrap_err();
    assert_eq!(archive.count("ingest.outbox").await, 1);
    let observations = archive.get(mail.key()).await.unwrap().observations;
    assert_eq!(observations[0].leaf_index, None);
    // A leaf that waits is no damage.
    assert_eq!(archive.fsck().await, []);
    archive.restart().await;
    archive.all_leaves().await;
    assert!(archive.get(mail.key()).await.unwrap().observations[0].leaf_index.is_some());
    assert_eq!(archive.fsck().await, []);
}
