//! Each way to break the catalogue, and what the check says of it.

use openarchive_ingest::Finding;
use tonic::Code;

use crate::{
    agent::{Mail, noise},
    archive::{Archive, tenant},
};

/// Three mails at seq 1 to 3: plain, with an attachment, the first again.
async fn sample() -> (Archive, Mail, Mail) {
    let archive = Archive::start().await;
    let (plain, attached) = (Mail::plain(1), Mail::with_attachment(2, &noise(1, 5_000)));
    archive.agent("acme/mx1").archive(&[(1, &plain), (2, &attached), (3, &plain)]).await;
    assert_eq!(archive.fsck().await, []);
    (archive, plain, attached)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_to_a_row_is_found_and_undone_again() {
    let (archive, plain, attached) = sample().await;
    let tenant = tenant();
    let agent = || "mx1".parse().unwrap();
    let differs = |seq, field| Finding::RowDiffers { tenant: tenant.clone(), agent: agent(), seq, field };
    let wrong_leaf = |seq| Finding::WrongLeaf { tenant: tenant.clone(), agent: agent(), seq };
    let index_of = |seq: i64| {
        let pool = archive.pool.clone();
        async move {
            let index: i64 = sqlx::query_scalar("select leaf_index from ingest.observation where seq = $1")
                .bind(seq)
                .fetch_one(&pool)
                .await
                .unwrap();
            index as u64
        }
    };
    let (first, second) = (index_of(1).await, index_of(2).await);
    let cases = [
        (
            "ingest.observation",
            "update ingest.observation set state = 'quarantined' where seq = 1",
            vec![differs(1, "state")],
        ),
        (
            "ingest.observation",
            "update ingest.observation set occurred_at = occurred_at + 1 where seq = 2",
            vec![differs(2, "occurred_at")],
        ),
        (
            "ingest.observation",
            "update ingest.observation set reason = 'x' where seq = 3",
            vec![differs(3, "reason")],
        ),
        (
            "ingest.observation",
            "update ingest.observation o set message = m.message from ingest.message m
               where o.seq = 1 and m.message <> o.message",
            vec![differs(1, "message")],
        ),
        (
            "ingest.observation",
            "update ingest.observation set record = (select record from ingest.observation where seq = 2)
               where seq = 1",
            vec![Finding::LeafNotOpened { tenant: tenant.clone(), index: first }, differs(1, "seat")],
        ),
        (
            "ingest.observation",
            "delete from ingest.observation where seq = 2",
            vec![Finding::LeafWithoutObservation { tenant: tenant.clone(), index: second }],
        ),
        (
            "ingest.observation",
            "update ingest.observation set leaf_index = 1000 where seq = 2",
            vec![wrong_leaf(2), wrong_leaf(2)],
        ),
        (
            "ingest.message_part",
            "delete from ingest.message_part",
            vec![Finding::PartsDiffer { tenant: tenant.clone(), message: attached.digest() }],
        ),
        (
            "ingest.message",
            "update ingest.message set length = length + 1 where skeleton in
               (select skeleton from ingest.message order by ordinal limit 1)",
            vec![Finding::LengthDiffers { tenant: tenant.clone(), message: plain.digest() }],
        ),
    ];
    for (table, change, expected) in cases {
        archive.execute(&format!("create table public.kept as select * from {table}")).await;
        archive.execute(&format!("alter table {table} disable trigger all; {change}")).await;
        assert_eq!(archive.fsck().await, expected, "{change}");
        let restore = if table == "ingest.message" {
            "update ingest.message m set length = k.length from public.kept k where k.message = m.message"
                .to_owned()
        } else {
            format!("delete from {table}; insert into {table} select * from public.kept")
        };
        archive
            .execute(&format!("{restore}; drop table public.kept; alter table {table} enable trigger all"))
            .await;
        assert_eq!(archive.fsck().await, [], "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_that_lost_its_leaf_on_the_way_is_found() {
    let (archive, _, _) = sample().await;
    archive.execute("update ingest.observation set leaf_index = null where seq = 2").await;
    let expected = Finding::NoLeaf { tenant: tenant(), agent: "mx1".parse().unwrap(), seq: 2 };
    assert_eq!(archive.fsck().await, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_content_is_found_and_never_given_out_as_whole() {
    let (archive, plain, attached) = sample().await;
    // One bit of every stored part and skeleton, in the packs themselves.
    for pack in walk(&archive.objects_dir().join("packs")) {
        let mut permissions = std::fs::metadata(&pack).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a test's own file")]
        permissions.set_readonly(false);
        std::fs::set_permissions(&pack, permissions).unwrap();
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[5 + 56 + 3] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
    }
    let findings = archive.fsck().await;
    assert!(
        findings.iter().any(|finding| matches!(finding, Finding::MessageDamaged { .. })
            || matches!(finding, Finding::RecordDamaged { .. })),
        "{findings:?}"
    );
    let mut lost = 0;
    for mail in [&plain, &attached] {
        match archive.open(mail.key()).await {
            Ok(bytes) => assert!(bytes == mail.bytes),
            Err(status) => {
                assert_eq!(status.code(), Code::DataLoss, "{status}");
                lost += 1;
            }
        }
    }
    assert!(lost > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_joins_to_other_bytes_ends_in_data_loss() {
    let (archive, plain, attached) = sample().await;
    // The catalogue is made to say that one message's skeleton is the other's.
    archive
        .execute("update ingest.message m set skeleton = o.skeleton from ingest.message o where o.message <> m.message")
        .await;
    for mail in [&plain, &attached] {
        let status = archive.open(mail.key()).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{status}");
    }
    let findings = archive.fsck().await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|finding| matches!(finding, Finding::MessageDamaged { .. })), "{findings:?}");
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
