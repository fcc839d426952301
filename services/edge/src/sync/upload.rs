//! Sending the blobs that the archive lacks, each once, straight from the buffer.

use std::collections::BTreeSet;

use bytes::Bytes;
use openarchive_domain::DigestHasher;
use openarchive_proto::ingest::v1::{BlobRole, UploadBlobsRequest, UploadHeader, upload_blobs_request::Item};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    core_calls::Core,
    error::SyncError,
    limits::{
        UPLOAD_CHUNK_BYTES_MAX, UPLOAD_CHUNKS_WAITING_MAX, UPLOAD_STREAM_BLOBS_MAX, UPLOAD_STREAM_BYTES_MAX,
    },
    offer::{Missing, Role, bytes_of},
};
use crate::buffer::{BlobReader, Buffer, BufferError};

/// Each blob once for each class it is missing in, in streams of bounded size.
pub(super) fn plan(missing: Vec<Missing>) -> Vec<Vec<Missing>> {
    let mut seen = BTreeSet::new();
    let mut streams: Vec<Vec<Missing>> = Vec::new();
    let mut bytes = 0;
    for blob in missing {
        // A class is compared as it is written; it has no order of its own.
        if !seen.insert((blob.class.to_string(), blob.role, blob.blob.digest)) {
            continue;
        }
        let length = blob.blob.length;
        match streams.last_mut() {
            Some(stream)
                if stream.len() < UPLOAD_STREAM_BLOBS_MAX && bytes + length <= UPLOAD_STREAM_BYTES_MAX =>
            {
                bytes += length;
                stream.push(blob);
            }
            _ => {
                bytes = length;
                streams.push(vec![blob]);
            }
        }
    }
    streams
}

/// Sends one stream. All its blobs are durable in the archive when it returns.
pub(super) async fn send(core: &Core, buffer: &Buffer, blobs: Vec<Missing>) -> Result<(), SyncError> {
    let bytes = blobs.iter().map(|blob| blob.blob.length).sum();
    let (out, items) = mpsc::channel(UPLOAD_CHUNKS_WAITING_MAX);
    let (read, answered) =
        tokio::join!(read_all(buffer, blobs, out), core.upload(ReceiverStream::new(items), bytes));
    // What is wrong here explains what the core says of it.
    read?;
    answered?;
    Ok(())
}

async fn read_all(
    buffer: &Buffer,
    blobs: Vec<Missing>,
    out: mpsc::Sender<UploadBlobsRequest>,
) -> Result<(), BufferError> {
    for missing in blobs {
        let damaged = |detail: String| BufferError::Damaged { id: missing.of, detail };
        let digest = missing.blob.digest;
        let reader =
            buffer.blob(digest).await?.ok_or_else(|| damaged(format!("blob {digest} is not there")))?;
        let header = UploadHeader {
            class: missing.class.to_string(),
            role: match missing.role {
                Role::Part => BlobRole::Part,
                Role::Skeleton => BlobRole::Skeleton,
            }
            .into(),
            digest: bytes_of(&digest),
            length: missing.blob.length,
        };
        if out.send(UploadBlobsRequest { item: Some(Item::Header(header)) }).await.is_err() {
            // The call is over; it says why.
            return Ok(());
        }
        let Some(hasher) = read_one(reader, &out).await? else { return Ok(()) };
        if hasher.length() != missing.blob.length || hasher.finish() != digest {
            return Err(damaged(format!("blob {digest} has other content")));
        }
    }
    Ok(())
}

/// `None` if nobody takes the pieces any more.
async fn read_one(
    mut reader: BlobReader,
    out: &mpsc::Sender<UploadBlobsRequest>,
) -> Result<Option<DigestHasher>, BufferError> {
    let mut hasher = DigestHasher::default();
    while let Some(bytes) = reader.next().await? {
        hasher.update(&bytes);
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(UPLOAD_CHUNK_BYTES_MAX));
            if out.send(UploadBlobsRequest { item: Some(Item::Chunk(chunk)) }).await.is_err() {
                return Ok(None);
            }
        }
    }
    Ok(Some(hasher))
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{Digest, RetentionClass};

    use super::*;
    use crate::buffer::{BlobRef, MessageId};

    fn missing(name: &str, length: u64) -> Missing {
        Missing {
            class: RetentionClass::DEFAULT,
            role: Role::Part,
            blob: BlobRef { digest: Digest::of(name.as_bytes()), length },
            of: MessageId::START,
        }
    }

    #[test]
    fn a_blob_that_several_mails_lack_is_sent_once_for_each_class() {
        let other_class = Missing { class: "1d-received-permitted".parse().unwrap(), ..missing("a", 1) };
        let skeleton = Missing { role: Role::Skeleton, ..missing("a", 1) };
        let streams = plan(vec![missing("a", 1), missing("b", 2), missing("a", 1), other_class, skeleton]);
        assert_eq!(streams, [vec![missing("a", 1), missing("b", 2), other_class, skeleton]]);
        assert_eq!(plan(vec![]), Vec::<Vec<Missing>>::new());
    }

    #[test]
    fn streams_are_bounded_in_bytes_and_in_blobs() {
        let half = UPLOAD_STREAM_BYTES_MAX / 2;
        let counts = |missing: Vec<Missing>| plan(missing).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(vec![missing("a", half), missing("b", half), missing("c", 1)]), [2, 1]);
        assert_eq!(counts(vec![missing("a", half), missing("b", half + 1)]), [1, 1]);
        assert_eq!(counts(vec![missing("a", 3 * half), missing("b", 1)]), [1, 1]);
        let many = (0..=UPLOAD_STREAM_BLOBS_MAX).map(|n| missing(&n.to_string(), 1)).collect();
        assert_eq!(counts(many), [UPLOAD_STREAM_BLOBS_MAX, 1]);
    }
}
