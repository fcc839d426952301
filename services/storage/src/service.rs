//! The gRPC methods: parse, call, map.

use openarchive_envelope::BlobScope;
use openarchive_objects::WormStatus;
use openarchive_proto::storage::v1::{
    BlobStat, GetBlobRequest, GetWormStatusRequest, GetWormStatusResponse, PutBlobsRequest, PutBlobsResponse,
    StatBlobsRequest, StatBlobsResponse, VerifyPackRequest, VerifyPackResponse,
    storage_service_server::StorageService,
};
use openarchive_rpc::refusal;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};
use uuid::Uuid;

use crate::{
    StorageError,
    blob_id::BlobId,
    catalogue::{pack_row, stat_blobs},
    get_blob::{BlobReader, BlobStream},
    ledger_check::LedgerChecker,
    open_packs::OpenPacks,
    pack_check::PackChecker,
    put_blobs::PutCall,
    refusals::invalid,
    requests::{blob_id, class_or_any, scope},
    spool::Spool,
};

/// Blobs that StatBlobs answers for in one call, at most.
pub const STAT_BLOBS_MAX: usize = 10_000;

/// Serves `openarchive.storage.v1`; made by [`crate::Storage::server`].
pub struct StorageServer {
    pub(crate) pool: PgPool,
    pub(crate) packs: OpenPacks,
    pub(crate) spool: Spool,
    pub(crate) puts: Semaphore,
    pub(crate) reader: BlobReader,
    pub(crate) checker: PackChecker,
    pub(crate) ledger: LedgerChecker,
    pub(crate) worm: WormStatus,
}

#[async_trait]
impl StorageService for StorageServer {
    type GetBlobStream = BlobStream;

    async fn put_blobs(
        &self,
        request: Request<Streaming<PutBlobsRequest>>,
    ) -> Result<Response<PutBlobsResponse>, Status> {
        let mut requests = request.into_inner();
        let mut call = PutCall::new(self.pool.clone(), self.packs.clone(), self.spool.clone());
        let turn = self.puts.acquire().await.map_err(|_| StorageError::Stopping)?;
        while let Some(request) = requests.message().await? {
            call.item(request.item).await?;
        }
        let received = call.end().await?;
        // What waits for its pack holds no memory of this call any more.
        drop(turn);
        Ok(Response::new(received.wait().await?))
    }

    async fn get_blob(&self, request: Request<GetBlobRequest>) -> Result<Response<BlobStream>, Status> {
        let request = request.into_inner();
        let (scope, class) = (scope(&request.tenant)?, class_or_any(&request.class)?);
        let id = blob_id(request.blob.as_ref())?;
        Ok(Response::new(self.reader.read(scope, id, class).await?))
    }

    async fn stat_blobs(
        &self,
        request: Request<StatBlobsRequest>,
    ) -> Result<Response<StatBlobsResponse>, Status> {
        let request = request.into_inner();
        let (scope, class): (BlobScope, _) = (scope(&request.tenant)?, class_or_any(&request.class)?);
        if request.blobs.len() > STAT_BLOBS_MAX {
            return Err(invalid(format!("at most {STAT_BLOBS_MAX} blobs are looked up in one call")));
        }
        let ids: Vec<BlobId> =
            request.blobs.iter().map(|blob| blob_id(Some(blob))).collect::<Result<_, _>>()?;
        let lengths = stat_blobs(&self.pool, &scope, class, &ids).await?;
        let blobs = lengths
            .into_iter()
            .map(|length| BlobStat { present: length.is_some(), length: length.unwrap_or(0) })
            .collect();
        Ok(Response::new(StatBlobsResponse { blobs }))
    }

    async fn verify_pack(
        &self,
        request: Request<VerifyPackRequest>,
    ) -> Result<Response<VerifyPackResponse>, Status> {
        let text = request.into_inner().pack_id;
        let pack_id: Uuid = text.parse().map_err(|_| invalid("the pack id is not a UUID"))?;
        let row = pack_row(&self.pool, pack_id).await?;
        let row = row.ok_or_else(|| refusal(Code::NotFound, "PACK_ABSENT", "there is no such pack"))?;
        let mut report = self.checker.check(&row).await?;
        report.findings.extend(self.ledger.check(&row).await?);
        let findings = report.findings.iter().map(ToString::to_string).collect();
        Ok(Response::new(VerifyPackResponse { findings, blobs: report.blobs }))
    }

    async fn get_worm_status(
        &self,
        _: Request<GetWormStatusRequest>,
    ) -> Result<Response<GetWormStatusResponse>, Status> {
        let WormStatus { worm, why } = self.worm.clone();
        Ok(Response::new(GetWormStatusResponse { worm, why }))
    }
}
