use openarchive_domain::{Digest, DigestHasher};
use openarchive_proto::storage::v1::{
    BlobKind, BlobRef, GetBlobRequest, PutBlobsHeader, put_blobs_request::Item,
};
use openarchive_rpc::CHUNK_BYTES_MAX;

use crate::archive::{Archive, CLASS, TENANT, noise, request};

const BLOB_BYTES: u64 = 100 * 1024 * 1024;
const CHUNKS: u64 = BLOB_BYTES / CHUNK_BYTES_MAX as u64;
/// Growth of the whole process, both ends and both services, while the blob goes in and comes out.
const MEMORY_GROWTH_KIB_MAX: u64 = 32 * 1024;
/// Set in the process that does the work: other tests must not count.
const CHILD: &str = "OPENARCHIVE_TEST_LARGE_BLOB";

#[test]
fn a_blob_of_100_mib_goes_through_in_bounded_memory() {
    if std::env::var_os(CHILD).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(put_and_get());
    }
    let test = "large::a_blob_of_100_mib_goes_through_in_bounded_memory";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The same noise over and over, with a number in front: made faster than it is stored.
fn chunk(base: &[u8], number: u64) -> Vec<u8> {
    let mut chunk = base.to_vec();
    chunk[..8].copy_from_slice(&number.to_be_bytes());
    chunk
}

async fn put_and_get() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let base = noise(1, CHUNK_BYTES_MAX);
    let mut hasher = DigestHasher::default();
    (0..CHUNKS).for_each(|number| hasher.update(&chunk(&base, number)));
    let digest: Digest = hasher.finish();
    let reference = BlobRef { kind: BlobKind::Part.into(), digest: digest.as_bytes().to_vec().into() };
    let before = peak_memory_kib();

    let header = PutBlobsHeader {
        tenant: TENANT.to_owned(),
        class: CLASS.to_owned(),
        blob: Some(reference.clone()),
        length: BLOB_BYTES,
    };
    let chunks = (0..CHUNKS).map(move |number| request(Item::Chunk(chunk(&base, number).into())));
    let requests = std::iter::once(request(Item::Header(header))).chain(chunks);
    let answer = core.client.clone().put_blobs(futures::stream::iter(requests)).await.unwrap().into_inner();
    assert_eq!(answer.stored, 1);

    let get = GetBlobRequest { tenant: TENANT.to_owned(), blob: Some(reference), class: CLASS.to_owned() };
    let mut stream = core.client.clone().get_blob(get).await.unwrap().into_inner();
    let mut read = DigestHasher::default();
    while let Some(response) = stream.message().await.unwrap() {
        read.update(&response.chunk);
    }
    assert_eq!((read.length(), read.finish()), (BLOB_BYTES, digest));

    let grown = peak_memory_kib() - before;
    println!("memory grew by {grown} KiB");
    assert!(grown <= MEMORY_GROWTH_KIB_MAX, "memory grew by {grown} KiB");
    archive.stop().await;
}

/// The most memory that this process ever had resident.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
