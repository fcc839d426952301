//! What ingest asks of storage.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use openarchive_domain::{Digest, RetentionClass, Tenant};
use openarchive_proto::storage::v1::{
    BlobKind, BlobRef, GetBlobRequest, GetBlobResponse, PutBlobsHeader, PutBlobsRequest, PutBlobsResponse,
    StatBlobsRequest, put_blobs_request::Item, storage_service_client::StorageServiceClient,
};
use openarchive_rpc::{CHUNK_BYTES_MAX, RPC_MESSAGE_BYTES_MAX};
use tonic::{Code, IntoStreamingRequest, Request, Status, Streaming, transport::Channel};

use crate::failure::Failure;

const SERVICE: &str = "storage";
/// Most blobs in one StatBlobs call.
const STAT_BLOBS_MAX: usize = 10_000;
/// How long a question about blobs may take.
const STAT_DEADLINE: Duration = Duration::from_secs(30);
/// How long a blob may take to be read.
const READ_DEADLINE: Duration = Duration::from_secs(300);
/// How long blobs may take to become durable, lingering for a fuller pack included.
const PUT_DEADLINE: Duration = Duration::from_secs(600);

/// Which blob of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BlobName {
    Part(Digest),
    Skeleton(Digest),
    Observation(Digest),
}

impl BlobName {
    fn reference(self) -> BlobRef {
        let (kind, digest) = match self {
            Self::Part(digest) => (BlobKind::Part, digest),
            Self::Skeleton(digest) => (BlobKind::Skeleton, digest),
            Self::Observation(digest) => (BlobKind::Observation, digest),
        };
        BlobRef { kind: kind.into(), digest: digest.as_bytes().to_vec().into() }
    }

    /// The header that begins this blob in a PutBlobs stream.
    pub(crate) fn header(self, tenant: &Tenant, class: RetentionClass, length: u64) -> PutBlobsRequest {
        let header = PutBlobsHeader {
            tenant: tenant.to_string(),
            class: class.to_string(),
            blob: Some(self.reference()),
            length,
        };
        PutBlobsRequest { item: Some(Item::Header(header)) }
    }
}

impl std::fmt::Display for BlobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Part(digest) => write!(f, "part {digest}"),
            Self::Skeleton(digest) => write!(f, "skeleton {digest}"),
            Self::Observation(digest) => write!(f, "observation {digest}"),
        }
    }
}

/// Why a blob cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("{0} is not in storage")]
    Missing(BlobName),
    #[error("{blob} is damaged: {why}")]
    Damaged { blob: BlobName, why: String },
    #[error("storage does not answer")]
    Unavailable(Box<Status>),
}

impl BlobError {
    fn from_status(blob: BlobName, status: Status) -> Self {
        match status.code() {
            Code::NotFound => Self::Missing(blob),
            Code::DataLoss => Self::Damaged { blob, why: status.message().to_owned() },
            _ => Self::Unavailable(Box::new(status)),
        }
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unavailable(status) => Self::Upstream { service: SERVICE, status },
            damage => Self::Damaged(damage.to_string()),
        }
    }
}

/// The content of one blob, piece by piece. Each piece has been verified; the whole has when `next` answers `None`.
pub(crate) struct BlobContent {
    blob: BlobName,
    pieces: Streaming<GetBlobResponse>,
}

impl BlobContent {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let piece =
            self.pieces.message().await.map_err(|status| BlobError::from_status(self.blob, status))?;
        Ok(piece.map(|piece| piece.chunk))
    }
}

/// Storage, seen from ingest. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct BlobStore {
    client: StorageServiceClient<Channel>,
}

impl BlobStore {
    pub(crate) fn new(channel: Channel) -> Self {
        let client = StorageServiceClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
        Self { client }
    }

    /// The raw length of each blob that is there, in the order asked.
    pub(crate) async fn lengths(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blobs: &[BlobName],
    ) -> Result<Vec<Option<u64>>, Failure> {
        let mut lengths = Vec::with_capacity(blobs.len());
        for group in blobs.chunks(STAT_BLOBS_MAX) {
            let mut request = Request::new(StatBlobsRequest {
                tenant: tenant.to_string(),
                class: class.to_string(),
                blobs: group.iter().map(|blob| blob.reference()).collect(),
            });
            request.set_timeout(STAT_DEADLINE);
            let answer = self.client.clone().stat_blobs(request).await.map_err(Failure::upstream(SERVICE))?;
            let stats = answer.into_inner().blobs;
            if stats.len() != group.len() {
                return Err(Failure::upstream(SERVICE)(Status::internal("not one answer for each blob")));
            }
            lengths.extend(stats.iter().map(|stat| stat.present.then_some(stat.length)));
        }
        Ok(lengths)
    }

    pub(crate) async fn open(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blob: BlobName,
    ) -> Result<BlobContent, BlobError> {
        let mut request = Request::new(GetBlobRequest {
            tenant: tenant.to_string(),
            blob: Some(blob.reference()),
            class: class.to_string(),
        });
        request.set_timeout(READ_DEADLINE);
        let answer = self.client.clone().get_blob(request).await;
        let pieces = answer.map_err(|status| BlobError::from_status(blob, status))?.into_inner();
        Ok(BlobContent { blob, pieces })
    }

    /// The whole of a small blob: at most `bytes_max` bytes of it.
    pub(crate) async fn read(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blob: BlobName,
        bytes_max: usize,
    ) -> Result<Vec<u8>, BlobError> {
        let mut content = self.open(tenant, class, blob).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await? {
            if bytes.len() + piece.len() > bytes_max {
                return Err(BlobError::Damaged { blob, why: format!("it is longer than {bytes_max} bytes") });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Stores observations in one stream. Durable when it answers.
    pub(crate) async fn put_observations(
        &self,
        tenant: &Tenant,
        observations: Vec<(RetentionClass, Digest, Vec<u8>)>,
    ) -> Result<(), Failure> {
        let mut requests = VecDeque::new();
        for (class, digest, bytes) in observations {
            let bytes = Bytes::from(bytes);
            requests.push_back(BlobName::Observation(digest).header(tenant, class, bytes.len() as u64));
            for start in (0..bytes.len()).step_by(CHUNK_BYTES_MAX) {
                let end = bytes.len().min(start + CHUNK_BYTES_MAX);
                requests.push_back(PutBlobsRequest { item: Some(Item::Chunk(bytes.slice(start..end))) });
            }
        }
        self.put(tokio_stream::iter(requests)).await.map_err(Failure::upstream(SERVICE))?;
        Ok(())
    }

    /// Passes a PutBlobs stream on. Durable when it answers; dropping the future abandons what is not.
    pub(crate) async fn put(
        &self,
        requests: impl IntoStreamingRequest<Message = PutBlobsRequest>,
    ) -> Result<PutBlobsResponse, Status> {
        let mut request = requests.into_streaming_request();
        request.set_timeout(PUT_DEADLINE);
        Ok(self.client.clone().put_blobs(request).await?.into_inner())
    }
}
