use bytes::Bytes;
use openarchive_domain::{Digest, DigestHasher, RetentionClass, Tenant};
use openarchive_mail::Skeleton;
use openarchive_proto::ingest::v1::OpenMessageResponse;
use openarchive_rpc::CHUNK_BYTES_MAX;
use openarchive_schema::{TenantScope, begin};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::Instrument as _;

use crate::{
    core::Core,
    failure::Failure,
    governance::SHREDDED,
    message_reader::{MessageReader, MessageSource},
    observation_rows::undecodable,
};

/// Chunks that may wait for a slow reader.
const CHUNKS_WAITING_MAX: usize = 4;

type Chunks = mpsc::Sender<Result<OpenMessageResponse, Status>>;

/// Where a message's skeleton is.
pub(crate) struct MessageRow {
    pub(crate) class: RetentionClass,
    pub(crate) skeleton: Digest,
}

/// Streams a message's exact bytes. The stream ends with `DATA_LOSS` if they are not those that were archived: a
/// reader must not take a message as whole before the stream has ended well.
pub(super) async fn open(
    core: &Core,
    tenant: Tenant,
    message: Digest,
) -> Result<ReceiverStream<Result<OpenMessageResponse, Status>>, Failure> {
    let row = find(core, &tenant, &message).await?;
    let Some(row) = row else { return Err(not_here(core, &tenant, &message).await?) };
    let source = core.source(&tenant, row.class);
    // Read before the first answer, so that what is missing altogether fails the call and not its stream.
    let skeleton = source.skeleton(row.skeleton).await?;
    let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let sending = async move {
        if let Err(failure) = send_all(&source, &skeleton, &message, &chunks).await {
            // A reader who is gone does not miss the reason.
            let _ = chunks.send(Err(failure.into())).await;
        }
    };
    tokio::spawn(sending.in_current_span());
    Ok(ReceiverStream::new(receiver))
}

async fn send_all(
    source: &MessageSource,
    skeleton: &Skeleton,
    message: &Digest,
    chunks: &Chunks,
) -> Result<(), Failure> {
    let mut reader = MessageReader::new(source, skeleton);
    let mut hasher = DigestHasher::default();
    while let Some(bytes) = reader.next().await? {
        hasher.update(bytes);
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            let chunk = OpenMessageResponse { chunk: Bytes::copy_from_slice(chunk) };
            if chunks.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
    }
    if hasher.finish() == *message {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{message} does not have its digest any more: run `openarchive fsck`")))
}

/// Why a message cannot be read: it never was here, or its keys were destroyed.
pub(super) async fn not_here(core: &Core, tenant: &Tenant, message: &Digest) -> Result<Failure, sqlx::Error> {
    let shred = sqlx::query_scalar!(
        "select shred from ingest.message where tenant = $1 and message = $2",
        tenant.as_str(),
        message.as_bytes().as_slice()
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    Ok(match shred.flatten() {
        Some(_) => Failure::refused(Code::NotFound, SHREDDED, format!("{message} was shredded")),
        None => Failure::not_found(format!("{message} is not in the archive of {tenant}")),
    })
}

pub(crate) async fn find(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
) -> Result<Option<MessageRow>, sqlx::Error> {
    let row = sqlx::query!(
        "select class, skeleton from ingest.message where tenant = $1 and message = $2 and shred is null",
        tenant.as_str(),
        message.as_bytes().as_slice()
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    row.map(|row| {
        Ok(MessageRow {
            class: row.class.parse().map_err(undecodable)?,
            skeleton: row.skeleton.as_slice().try_into().map_err(undecodable)?,
        })
    })
    .transpose()
}
