use std::time::Duration;

use openarchive_proto::storage::v1::{
    ListPacksRequest, PackSummary, PutBlobsRequest, StatBlobsRequest, VerifyPackRequest,
    put_blobs_request::Item,
};
use openarchive_rpc::{CHUNK_BYTES_MAX, has_reason};
use openarchive_storage::{
    BLOBS_PER_CALL_MAX, INVALID_REQUEST, LIST_PACKS_MAX, PACK_BLOBS_MAX, STAT_BLOBS_MAX, STORAGE_UNAVAILABLE,
    StorageParts,
};
use tonic::{Code, Status, transport::Endpoint};

use crate::archive::{Archive, Blob, CLASS, Core, LINGER, TENANT, noise, request};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_the_limits_is_refused_and_what_just_fits_is_taken() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    for (chunk, fits) in [(CHUNK_BYTES_MAX, true), (CHUNK_BYTES_MAX + 1, false)] {
        let blob = Blob::part(noise(1, chunk));
        let requests =
            vec![request(Item::Header(blob.header())), request(Item::Chunk(blob.raw.clone().into()))];
        let answer = core.put_requests(requests).await;
        assert_eq!(answer.is_ok(), fits);
        assert!(fits || has_reason(&answer.unwrap_err(), INVALID_REQUEST));
    }
    for (blobs, fits) in [(STAT_BLOBS_MAX, true), (STAT_BLOBS_MAX + 1, false)] {
        let reference = Blob::part(noise(1, CHUNK_BYTES_MAX)).reference();
        let request = StatBlobsRequest {
            tenant: TENANT.to_owned(),
            class: CLASS.to_owned(),
            blobs: vec![reference; blobs],
            keep_until: String::new(),
        };
        let answer = core.client.clone().stat_blobs(request).await;
        match answer {
            Ok(answer) => assert!(fits && answer.into_inner().blobs.iter().all(|blob| blob.present)),
            Err(refused) => assert!(!fits && has_reason(&refused, INVALID_REQUEST)),
        }
    }
    for (blobs, fits) in [(BLOBS_PER_CALL_MAX, true), (BLOBS_PER_CALL_MAX + 1, false)] {
        let header = request(Item::Header(Blob::part(Vec::new()).header()));
        let answer = core.put_requests(vec![header; blobs as usize]).await;
        assert_eq!(answer.is_ok(), fits);
        assert!(fits || has_reason(&answer.unwrap_err(), INVALID_REQUEST));
    }
    for (limit, fits) in [(LIST_PACKS_MAX, true), (LIST_PACKS_MAX + 1, false)] {
        let listed = list_packs(&core, "", limit).await;
        assert_eq!(listed.is_ok(), fits);
        assert!(fits || has_reason(&listed.unwrap_err(), INVALID_REQUEST));
    }
    archive.stop().await;
}

async fn list_packs(core: &Core, after: &str, limit: u32) -> Result<Vec<PackSummary>, Status> {
    let request = ListPacksRequest { after_pack_id: after.to_owned(), limit };
    Ok(core.client.clone().list_packs(request).await?.into_inner().packs)
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_are_listed_in_turn_each_once_with_their_tenant_and_length() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    for seed in 0..5 {
        core.put(&[Blob::part(noise(seed, 2_000))]).await.unwrap();
    }
    let all = list_packs(&core, "", 0).await.unwrap();
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select pack_id::text, length from storage.pack order by pack_id")
            .fetch_all(archive.pool())
            .await
            .unwrap();
    let said: Vec<(String, i64)> =
        all.iter().map(|pack| (pack.pack_id.clone(), pack.length as i64)).collect();
    assert_eq!((said.len(), said), (5, rows));
    assert!(all.iter().all(|pack| pack.tenant == TENANT));
    let mut paged: Vec<PackSummary> = Vec::new();
    loop {
        let after = paged.last().map_or(String::new(), |pack| pack.pack_id.clone());
        let page = list_packs(&core, &after, 2).await.unwrap();
        let last = page.len() < 2;
        paged.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(paged, all);
    assert!(has_reason(&list_packs(&core, "x", 1).await.unwrap_err(), INVALID_REQUEST));
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_with_as_many_blobs_as_it_may_have_does_not_wait_for_more() {
    let archive = Archive::start().await;
    let core = archive.core_with(&archive.parts, Duration::from_secs(3600), "spool").await;
    let blobs: Vec<Blob> = (0..PACK_BLOBS_MAX).map(|number| Blob::part(number.to_be_bytes())).collect();
    assert_eq!(core.put(&blobs).await.unwrap().stored as usize, PACK_BLOBS_MAX);
    assert_eq!(archive.count("pack").await, 1);
    Archive::assert_no_damage(&archive.fsck().await);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_trust_nothing_is_stored_and_the_caller_is_told_to_come_again() {
    let archive = Archive::start().await;
    let trust = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let parts = StorageParts { trust: trust.into(), ..archive.parts.clone() };
    let core = archive.core_with(&parts, LINGER, "spool").await;
    let blob = Blob::part(b"x".as_slice());
    let refused = core.put(std::slice::from_ref(&blob)).await.unwrap_err();
    assert!(has_reason(&refused, STORAGE_UNAVAILABLE), "{refused:?}");
    assert_eq!(archive.count("pack").await, 0);
    assert_eq!(archive.core().await.put(&[blob]).await.unwrap().stored, 1);
    archive.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_out_of_order_and_an_unknown_pack_are_refused() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    for requests in [vec![request(Item::Chunk(vec![1].into()))], vec![PutBlobsRequest::default()]] {
        let refused = core.put_requests(requests).await.unwrap_err();
        assert!(has_reason(&refused, INVALID_REQUEST), "{refused:?}");
    }
    assert_eq!(core.put_requests(Vec::new()).await.unwrap().stored, 0);
    let verify = async |pack_id: &str| {
        let answer = core.client.clone().verify_pack(VerifyPackRequest { pack_id: pack_id.to_owned() }).await;
        answer.unwrap_err().code()
    };
    assert_eq!(verify("019cb748-4cb1-7bab-abab-abababababab").await, Code::NotFound);
    assert_eq!(verify("x").await, Code::InvalidArgument);
    archive.stop().await;
}
