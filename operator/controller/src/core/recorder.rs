//! Puts snapshots on record: the body as a blob, then its leaf, in order, fenced against another operator.

use anyhow::Context as _;
use futures::stream;
use openarchive_operator_snapshot::{ConfigLog, Delivery, LogLeaf};
use openarchive_proto::{
    storage::v1::{
        BlobKind, BlobRef, PutBlobsHeader, PutBlobsRequest, put_blobs_request::Item,
        storage_service_client::StorageServiceClient,
    },
    trust::v1::{
        AppendEntry, AppendRequest, ListLeavesRequest, Log, trust_service_client::TrustServiceClient,
    },
};
use openarchive_rpc::RpcChannel;
use std::time::Duration;
use tonic::{Code, Request};

use super::{Core, dialler::failed};

/// Of one call to the archive. Storage groups blobs for some seconds before it answers.
const DEADLINE: Duration = Duration::from_secs(30);
/// Leaves in one answer of `ListLeaves`.
const LEAVES: u32 = 1_000;
/// Bytes of a blob in one message of `PutBlobs` (proto/openarchive/storage/v1).
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Tenant and class of what belongs to the archive as a whole.
pub(super) const ARCHIVE_WIDE: &str = "_";
const SYSTEM_CLASS: &str = "system";

/// Where the log of configurations stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogState {
    /// Recorded at this index.
    Recorded(u64),
    /// Somebody else appended in between: read the log again.
    Fenced,
}

/// The whole `config` log, from leaf 0 on.
pub async fn read_config_log(core: &Core) -> anyhow::Result<(ConfigLog, Vec<LogLeaf>)> {
    let mut client = TrustServiceClient::new(core.trust.clone()).max_decoding_message_size(LIST_BYTES_MAX);
    let mut leaves: Vec<LogLeaf> = Vec::new();
    loop {
        let start = leaves.len() as u64;
        let request = ListLeavesRequest { log: Some(log()), start, limit: LEAVES };
        let answer = client.list_leaves(timed(request)).await;
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            // Nobody has appended yet: there is no log.
            Err(status) if status.code() == Code::NotFound => break,
            Err(status) => return Err(failed("trust cannot list the config log", &status)),
        };
        let is_end = answer.leaves.is_empty();
        leaves.extend(
            answer.leaves.into_iter().map(|leaf| LogLeaf { index: leaf.index, body: leaf.body.to_vec() }),
        );
        if is_end || leaves.len() as u64 >= answer.size {
            break;
        }
    }
    Ok((ConfigLog::read(&leaves), leaves))
}

/// 1,000 leaves of at most 64 KiB.
const LIST_BYTES_MAX: usize = 72 * 1024 * 1024;

/// Answers when body and leaf are durable. The same delivery again answers the same index.
pub(crate) async fn record(core: &Core, delivery: &Delivery) -> anyhow::Result<LogState> {
    put_body(core.storage.clone(), delivery).await?;
    let entry = AppendEntry {
        idempotency_key: delivery.idempotency_key.as_bytes().to_vec().into(),
        expected_previous: Some(delivery.expected_previous),
        body: delivery.leaf.to_string(),
    };
    let request = AppendRequest { log: Some(log()), entries: vec![entry] };
    match TrustServiceClient::new(core.trust.clone()).append(timed(request)).await {
        Ok(answer) => {
            let leaf = answer.into_inner().leaves.into_iter().next().context("trust answered no leaf")?;
            Ok(LogState::Recorded(leaf.index))
        }
        Err(status) if status.code() == Code::Aborted => Ok(LogState::Fenced),
        Err(status) => Err(failed("trust cannot append to the config log", &status)),
    }
}

async fn put_body(storage: RpcChannel, delivery: &Delivery) -> anyhow::Result<()> {
    let body = delivery.snapshot.canonical().as_bytes();
    let blob = BlobRef {
        kind: BlobKind::Config.into(),
        digest: delivery.snapshot.digest().as_bytes().to_vec().into(),
    };
    let header = PutBlobsHeader {
        tenant: ARCHIVE_WIDE.to_owned(),
        class: SYSTEM_CLASS.to_owned(),
        blob: Some(blob),
        length: body.len() as u64,
    };
    let chunks = body.chunks(CHUNK_BYTES_MAX).map(|chunk| Item::Chunk(chunk.to_vec().into()));
    let requests: Vec<_> = std::iter::once(Item::Header(header))
        .chain(chunks)
        .map(|item| PutBlobsRequest { item: Some(item) })
        .collect();
    let mut request = Request::new(stream::iter(requests));
    request.set_timeout(DEADLINE);
    let answer = StorageServiceClient::new(storage).put_blobs(request).await;
    answer.map(drop).map_err(|status| failed("storage cannot keep a configuration", &status))
}

pub(super) fn log() -> Log {
    Log { tenant: ARCHIVE_WIDE.to_owned(), stream: "config".to_owned() }
}

pub(super) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
