use openarchive_rpc::has_reason;
use openarchive_storage::{DIGEST_MISMATCH, LENGTH_MISMATCH};

use crate::archive::{Archive, Blob, LINGER, noise, request};
use openarchive_proto::storage::v1::put_blobs_request::Item;

const SMALL: usize = 5_000;
/// Sealed as it comes.
const LARGE: usize = 600_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_there_is_not_stored_again() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let blobs = [Blob::part(noise(1, SMALL)), Blob::part(noise(2, LARGE))];
    let check = async |blobs: &[Blob], expected: (u32, u32)| {
        let answer = core.put(blobs).await.unwrap();
        assert_eq!((answer.stored, answer.already_there), expected);
    };
    check(&blobs, (2, 0)).await;
    check(&blobs, (0, 2)).await;
    // Twice in one call.
    let third = Blob::part(noise(3, SMALL));
    let fourth = Blob::part(noise(4, LARGE));
    check(&[third.clone(), third.clone(), fourth.clone(), fourth], (2, 2)).await;
    check(&[third, Blob::part(noise(5, SMALL))], (1, 1)).await;
    assert_eq!(archive.count("pack_entry").await, 5);
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cores_and_calls_that_race_for_a_blob_leave_exactly_one_live_entry() {
    let archive = Archive::start().await;
    let cores = [
        archive.core_with(&archive.parts, LINGER, "spool-1").await,
        archive.core_with(&archive.parts, LINGER, "spool-2").await,
    ];
    for (round, bytes) in [SMALL, LARGE, SMALL, LARGE].into_iter().enumerate() {
        let shared = Blob::part(noise(round as u64, bytes));
        let calls = (0..8).map(|caller| {
            let own = Blob::part(noise(1_000 + 10 * round as u64 + caller, 1_000));
            let (core, blobs) = (&cores[caller as usize % 2], [shared.clone(), own]);
            async move { core.put(&blobs).await.unwrap() }
        });
        let answers = futures::future::join_all(calls).await;
        let stored: u32 = answers.iter().map(|answer| answer.stored).sum();
        let already_there: u32 = answers.iter().map(|answer| answer.already_there).sum();
        assert_eq!((stored, already_there), (9, 7), "round {round}");
        let live: i64 = sqlx::query_scalar("select count(*) from storage.pack_entry where digest = $1")
            .bind(shared.digest().as_bytes().as_slice())
            .fetch_one(archive.pool())
            .await
            .unwrap();
        assert_eq!(live, 1, "round {round}");
        cores[round % 2].assert_all_there(&[shared]).await;
    }
    // The losers' copies stand in their packs, in the footer only: that is no damage.
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_their_digest_or_length_are_refused_and_nothing_is_catalogued() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let known = [Blob::part(noise(1, SMALL)), Blob::part(noise(2, LARGE))];
    core.put(&known).await.unwrap();
    let entries = archive.count("pack_entry").await;
    let new = [Blob::part(noise(3, SMALL)), Blob::part(noise(4, LARGE))];
    for blob in known.iter().chain(&new) {
        let mut other = blob.raw.clone();
        other[0] ^= 1;
        let refused = |raw: Vec<u8>| {
            let mut requests = vec![request(Item::Header(blob.header()))];
            requests.extend(Blob::part(raw).requests().into_iter().skip(1));
            core.put_requests(requests)
        };
        let check = |status: tonic::Status, reason| assert!(has_reason(&status, reason), "{status:?}");
        check(refused(other).await.unwrap_err(), DIGEST_MISMATCH);
        check(refused(blob.raw[1..].to_vec()).await.unwrap_err(), LENGTH_MISMATCH);
        check(refused([&blob.raw[..], b"x"].concat()).await.unwrap_err(), LENGTH_MISMATCH);
        check(refused(Vec::new()).await.unwrap_err(), LENGTH_MISMATCH);
    }
    assert_eq!(archive.count("pack_entry").await, entries);
    assert_eq!(core.stat(&new).await, [None, None]);
    // The honest ones after them are taken.
    assert_eq!(core.put(&new).await.unwrap().stored, 2);
    core.assert_all_there(&new).await;
    assert_eq!(std::fs::read_dir(archive.dir().join("spool")).unwrap().count(), 0);
    archive.stop().await;
}
