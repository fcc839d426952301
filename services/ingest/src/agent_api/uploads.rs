use openarchive_domain::{RetentionClass, Tenant};
use openarchive_mail::limits::{MESSAGE_BYTES_MAX, SKELETON_BYTES_MAX};
use openarchive_proto::{
    ingest::v1::{
        BlobRole, UploadBlobsRequest, UploadBlobsResponse, UploadHeader, upload_blobs_request::Item,
    },
    storage::v1::{PutBlobsRequest, put_blobs_request},
};
use openarchive_rpc::CHUNK_BYTES_MAX;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    blob_store::BlobName,
    core::Core,
    failure::{Failure, FieldError},
    offer::parse_digest,
    retention::RetentionRule,
};

/// Pieces that may wait for storage, each of at most 256 KiB.
const PIECES_WAITING_MAX: usize = 4;

/// Passes an agent's blobs on to storage as they come; no blob is ever held whole. Answers when storage says that all
/// are durable. On an error the blobs that were complete may have been stored.
pub(super) async fn pass_on(
    core: &Core,
    tenant: &Tenant,
    uploads: Streaming<UploadBlobsRequest>,
) -> Result<UploadBlobsResponse, Status> {
    let rule = core.retention.rule(&core.pool).await?;
    let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let put = core.blobs.put_upload(ReceiverStream::new(receiver));
    tokio::pin!(put);
    let stored = tokio::select! {
        biased;
        // Storage has the last word in any case; before the end of the stream it is a refusal.
        stored = &mut put => stored,
        pumped = pump(&rule, tenant, uploads, pieces) => {
            // Dropping `put` here cancels the call, so that storage does not take a cut stream for a whole one.
            pumped?;
            put.await
        }
    };
    let stored = stored.map_err(|status| for_the_agent(&status))?;
    Ok(UploadBlobsResponse { stored: stored.stored, already_there: stored.already_there })
}

async fn pump(
    rule: &RetentionRule,
    tenant: &Tenant,
    mut uploads: Streaming<UploadBlobsRequest>,
    pieces: mpsc::Sender<PutBlobsRequest>,
) -> Result<(), Status> {
    let mut blob_has_begun = false;
    while let Some(upload) = uploads.message().await? {
        let piece = match upload.item {
            Some(Item::Header(header)) => {
                blob_has_begun = true;
                parse_header(rule, tenant, &header)?
            }
            Some(Item::Chunk(chunk)) if blob_has_begun && chunk.len() <= CHUNK_BYTES_MAX => {
                PutBlobsRequest { item: Some(put_blobs_request::Item::Chunk(chunk)) }
            }
            Some(Item::Chunk(_)) if blob_has_begun => {
                return Err(field("chunk", format!("at most {CHUNK_BYTES_MAX} bytes")));
            }
            Some(Item::Chunk(_)) | None => return Err(field("header", "first")),
        };
        if pieces.send(piece).await.is_err() {
            // Storage has ended the call; its answer says why.
            return Ok(());
        }
    }
    Ok(())
}

fn parse_header(
    rule: &RetentionRule,
    tenant: &Tenant,
    header: &UploadHeader,
) -> Result<PutBlobsRequest, Status> {
    let digest = parse_digest(&header.digest, "header.digest").map_err(Failure::from)?;
    let (blob, bytes_max) = match header.role() {
        BlobRole::Part => (BlobName::Part(digest), MESSAGE_BYTES_MAX),
        BlobRole::Skeleton => (BlobName::Skeleton(digest), SKELETON_BYTES_MAX as u64),
        BlobRole::Unspecified => return Err(field("header.role", "BLOB_ROLE_PART or BLOB_ROLE_SKELETON")),
    };
    if header.length > bytes_max {
        return Err(field("header.length", format!("at most {bytes_max}")));
    }
    let class: RetentionClass =
        header.class.parse().map_err(|_| field("header.class", "a retention class"))?;
    if !rule.gives(tenant, class) {
        let message = "no mail gets this class by now: offer it again";
        return Err(Failure::refused(Code::Aborted, "CLASS_CHANGED", message).into());
    }
    Ok(blob.header(&tenant.clone().into(), class, header.length))
}

fn field(name: &str, expected: impl Into<String>) -> Status {
    Failure::from(FieldError::new(name, expected)).into()
}

/// The content is the agent's own, so storage's refusal of it is for the agent.
fn for_the_agent(status: &Status) -> Status {
    match status.code() {
        Code::InvalidArgument | Code::DataLoss | Code::FailedPrecondition | Code::OutOfRange => {
            Status::new(status.code(), status.message())
        }
        _ => Failure::upstream("storage")(status.clone()).into(),
    }
}
