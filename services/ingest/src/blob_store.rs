//! What ingest asks of storage.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use openarchive_domain::{Digest, RetentionClass, Tenant, Timestamp};
use openarchive_ledger::origin::TenantOrArchive;
use openarchive_proto::storage::v1::{
    self as proto, BlobKind, BlobRef, ClassedBlob, ExtendLockRequest, GetBlobRequest, GetBlobResponse,
    LocateBlobsRequest, PutBlobsHeader, PutBlobsRequest, PutBlobsResponse, StatBlobsRequest,
    put_blobs_request::Item, storage_service_client::StorageServiceClient,
};
use openarchive_rpc::{CHUNK_BYTES_MAX, RPC_MESSAGE_BYTES_MAX, RpcChannel};
use tokio::sync::Semaphore;
use uuid::Uuid;

use tonic::{Code, IntoStreamingRequest, Request, Status, Streaming};

use crate::failure::Failure;

const SERVICE: &str = "storage";
/// Most blobs in one StatBlobs or ExtendLock call.
const STAT_BLOBS_MAX: usize = 10_000;
/// How long a question about blobs may take.
const STAT_DEADLINE: Duration = Duration::from_secs(30);
/// How long a blob may take to be read.
const READ_DEADLINE: Duration = Duration::from_secs(300);
/// How long blobs may take to become durable, lingering for a fuller pack included.
const PUT_DEADLINE: Duration = Duration::from_secs(600);
/// Agents' uploads that are passed on at a time; further ones wait here. Together with [`RECORD_PUTS_MAX`] fewer than
/// storage serves at once: a stream that waits for its turn there, unread, takes the connection's flow-control window
/// (RFC 9113 section 5.2) from every other call.
pub(crate) const UPLOADS_AT_ONCE_MAX: usize = 20;
/// Streams of ingest's own blobs (observations, states) at a time, which no slow agent holds up.
const RECORD_PUTS_MAX: usize = 8;

/// Which blob of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BlobName {
    Part(Digest),
    Skeleton(Digest),
    Observation(Digest),
    State(Digest),
}

impl BlobName {
    fn reference(self) -> BlobRef {
        let (kind, digest) = match self {
            Self::Part(digest) => (BlobKind::Part, digest),
            Self::Skeleton(digest) => (BlobKind::Skeleton, digest),
            Self::Observation(digest) => (BlobKind::Observation, digest),
            Self::State(digest) => (BlobKind::State, digest),
        };
        BlobRef { kind: kind.into(), digest: digest.as_bytes().to_vec().into() }
    }

    /// Its kind and digest as columns hold them.
    pub(crate) fn column(self) -> (i16, Digest) {
        use openarchive_envelope::BlobKind as Kind;
        let (kind, digest) = match self {
            Self::Part(digest) => (Kind::Part, digest),
            Self::Skeleton(digest) => (Kind::Skeleton, digest),
            Self::Observation(digest) => (Kind::Observation, digest),
            Self::State(digest) => (Kind::State, digest),
        };
        (i16::from(kind.code()), digest)
    }

    /// The header that begins this blob in a PutBlobs stream.
    pub(crate) fn header(
        self,
        owner: &TenantOrArchive,
        class: RetentionClass,
        length: u64,
    ) -> PutBlobsRequest {
        let header = PutBlobsHeader {
            tenant: owner.to_string(),
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
            Self::State(digest) => write!(f, "state {digest}"),
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

    /// All that is left, at most `bytes_max` bytes.
    async fn read(mut self, bytes_max: usize) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > bytes_max {
                let why = format!("it is longer than {bytes_max} bytes");
                return Err(BlobError::Damaged { blob: self.blob, why });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// Where a blob's key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobPlace {
    pub(crate) pack: Uuid,
    /// Its number in the pack's key file.
    pub(crate) ordinal: u32,
    /// Until when the key cannot be destroyed.
    pub(crate) key_locked_until: Option<Timestamp>,
}

impl BlobPlace {
    fn parse(place: &proto::BlobPlace) -> Option<Self> {
        let until = place.key_locked_until.as_str();
        let key_locked_until = if until.is_empty() { None } else { Some(until.parse().ok()?) };
        Some(Self { pack: place.pack_id.parse().ok()?, ordinal: place.ordinal, key_locked_until })
    }
}

/// One blob of a PutBlobs stream.
fn one_blob(
    blob: BlobName,
    owner: &TenantOrArchive,
    class: RetentionClass,
    bytes: Vec<u8>,
) -> VecDeque<PutBlobsRequest> {
    let bytes = Bytes::from(bytes);
    let mut requests = VecDeque::from([blob.header(owner, class, bytes.len() as u64)]);
    for start in (0..bytes.len()).step_by(CHUNK_BYTES_MAX) {
        let end = bytes.len().min(start + CHUNK_BYTES_MAX);
        requests.push_back(PutBlobsRequest { item: Some(Item::Chunk(bytes.slice(start..end))) });
    }
    requests
}

/// Storage, seen from ingest. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct BlobStore {
    client: StorageServiceClient<RpcChannel>,
    uploads: Arc<Semaphore>,
    record_puts: Arc<Semaphore>,
}

impl BlobStore {
    pub(crate) fn new(channel: RpcChannel) -> Self {
        let client = StorageServiceClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
        let (uploads, record_puts) = (Semaphore::new(UPLOADS_AT_ONCE_MAX), Semaphore::new(RECORD_PUTS_MAX));
        Self { client, uploads: Arc::new(uploads), record_puts: Arc::new(record_puts) }
    }

    /// The raw length of each blob that is there and can be kept until then, in the order asked.
    pub(crate) async fn lengths(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blobs: &[BlobName],
        keep_until: Timestamp,
    ) -> Result<Vec<Option<u64>>, Failure> {
        let mut lengths = Vec::with_capacity(blobs.len());
        for group in blobs.chunks(STAT_BLOBS_MAX) {
            let mut request = Request::new(StatBlobsRequest {
                tenant: tenant.to_string(),
                class: class.to_string(),
                blobs: group.iter().map(|blob| blob.reference()).collect(),
                keep_until: keep_until.to_string(),
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

    /// Locks these blobs until then. Whether each is locked for so long, in the order asked; durable when it answers.
    pub(crate) async fn lock(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blobs: &[BlobName],
        keep_until: Timestamp,
    ) -> Result<Vec<bool>, Failure> {
        let mut all = Vec::with_capacity(blobs.len());
        for group in blobs.chunks(STAT_BLOBS_MAX) {
            let mut request = Request::new(ExtendLockRequest {
                tenant: tenant.to_string(),
                class: class.to_string(),
                blobs: group.iter().map(|blob| blob.reference()).collect(),
                keep_until: keep_until.to_string(),
            });
            request.set_timeout(STAT_DEADLINE);
            let answer =
                self.client.clone().extend_lock(request).await.map_err(Failure::upstream(SERVICE))?;
            let locked = answer.into_inner().locked;
            if locked.len() != group.len() {
                return Err(Failure::upstream(SERVICE)(Status::internal("not one answer for each blob")));
            }
            all.extend(locked);
        }
        Ok(all)
    }

    /// Every place of these blobs, each with its class.
    pub(crate) async fn locate(
        &self,
        tenant: &Tenant,
        blobs: &[(String, BlobName)],
    ) -> Result<Vec<BlobPlace>, Failure> {
        let mut all = Vec::new();
        for group in blobs.chunks(STAT_BLOBS_MAX) {
            let blobs = group
                .iter()
                .map(|(class, blob)| ClassedBlob { class: class.clone(), blob: Some(blob.reference()) });
            let mut request =
                Request::new(LocateBlobsRequest { tenant: tenant.to_string(), blobs: blobs.collect() });
            request.set_timeout(STAT_DEADLINE);
            let answer =
                self.client.clone().locate_blobs(request).await.map_err(Failure::upstream(SERVICE))?;
            for place in answer.into_inner().places {
                all.push(BlobPlace::parse(&place).ok_or_else(|| {
                    Failure::upstream(SERVICE)(Status::internal("a place that cannot be read"))
                })?);
            }
        }
        Ok(all)
    }

    /// Stores a state blob. Durable when it answers.
    pub(crate) async fn put_state(
        &self,
        owner: &TenantOrArchive,
        digest: Digest,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let requests = one_blob(BlobName::State(digest), owner, RetentionClass::System, bytes);
        self.put(&self.record_puts, tokio_stream::iter(requests))
            .await
            .map_err(Failure::upstream(SERVICE))?;
        Ok(())
    }

    pub(crate) async fn open(
        &self,
        tenant: &Tenant,
        class: RetentionClass,
        blob: BlobName,
    ) -> Result<BlobContent, BlobError> {
        self.open_of(&tenant.clone().into(), class, blob).await
    }

    async fn open_of(
        &self,
        owner: &TenantOrArchive,
        class: RetentionClass,
        blob: BlobName,
    ) -> Result<BlobContent, BlobError> {
        let mut request = Request::new(GetBlobRequest {
            tenant: owner.to_string(),
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
        self.open(tenant, class, blob).await?.read(bytes_max).await
    }

    /// The whole of a state blob of the archive itself.
    pub(crate) async fn read_archive_state(
        &self,
        digest: Digest,
        bytes_max: usize,
    ) -> Result<Vec<u8>, BlobError> {
        let blob = BlobName::State(digest);
        let content = self.open_of(&TenantOrArchive::Archive, RetentionClass::System, blob).await?;
        content.read(bytes_max).await
    }

    /// Stores observations in one stream. Durable when it answers.
    pub(crate) async fn put_observations(
        &self,
        tenant: &Tenant,
        observations: Vec<(RetentionClass, Digest, Vec<u8>)>,
    ) -> Result<(), Failure> {
        let (owner, mut requests) = (tenant.clone().into(), VecDeque::new());
        for (class, digest, bytes) in observations {
            requests.extend(one_blob(BlobName::Observation(digest), &owner, class, bytes));
        }
        self.put(&self.record_puts, tokio_stream::iter(requests))
            .await
            .map_err(Failure::upstream(SERVICE))?;
        Ok(())
    }

    /// Passes an agent's blobs on. Durable when it answers; dropping the future abandons what is not.
    pub(crate) async fn put_upload(
        &self,
        requests: impl IntoStreamingRequest<Message = PutBlobsRequest>,
    ) -> Result<PutBlobsResponse, Status> {
        self.put(&self.uploads, requests).await
    }

    async fn put(
        &self,
        turns: &Semaphore,
        requests: impl IntoStreamingRequest<Message = PutBlobsRequest>,
    ) -> Result<PutBlobsResponse, Status> {
        let _turn = turns.acquire().await.map_err(|_| Status::unavailable("ingest stops"))?;
        let mut request = requests.into_streaming_request();
        request.set_timeout(PUT_DEADLINE);
        Ok(self.client.clone().put_blobs(request).await?.into_inner())
    }
}
