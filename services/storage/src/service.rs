//! The gRPC methods: parse, call, map.

use std::sync::Arc;

use openarchive_domain::Clock;
use openarchive_envelope::BlobScope;
use openarchive_objects::WormStatus;
use openarchive_proto::storage::v1::{
    BlobPlace, BlobStat, ExtendLockRequest, ExtendLockResponse, GetBlobRequest, GetWormStatusRequest,
    GetWormStatusResponse, ListPacksRequest, ListPacksResponse, LocateBlobsRequest, LocateBlobsResponse,
    PackSummary, PutBlobsRequest, PutBlobsResponse, ShredRequest, ShredResponse, StatBlobsRequest,
    StatBlobsResponse, VerifyPackRequest, VerifyPackResponse, put_blobs_request::Item,
    storage_service_server::StorageService,
};
use openarchive_rpc::{PeerIdentity, refusal};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};
use tracing::error;
use uuid::Uuid;

use crate::{
    StorageError,
    callers::may_use,
    catalogue::{locate, pack_row, pack_rows_after, stat_blobs},
    get_blob::{BlobReader, BlobStream},
    ledger_check::LedgerChecker,
    lock_extension::LockExtender,
    open_packs::OpenPacks,
    pack_check::PackChecker,
    put_blobs::PutCall,
    refusals::invalid,
    requests::{LIST_PACKS_MAX, blob_id, blob_ids, class, class_or_any, classed_blobs, keep_until, scope},
    shred::Shredder,
    spool::Spool,
};

/// Serves `openarchive.storage.v1`; made by [`crate::Storage::server`].
pub struct StorageServer {
    pub(crate) pool: PgPool,
    pub(crate) packs: OpenPacks,
    pub(crate) spool: Spool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) puts: Semaphore,
    pub(crate) reader: BlobReader,
    pub(crate) checker: PackChecker,
    pub(crate) ledger: LedgerChecker,
    pub(crate) locks: LockExtender,
    pub(crate) shredder: Shredder,
    pub(crate) worm: WormStatus,
}

#[async_trait]
impl StorageService for StorageServer {
    type GetBlobStream = BlobStream;

    async fn put_blobs(
        &self,
        request: Request<Streaming<PutBlobsRequest>>,
    ) -> Result<Response<PutBlobsResponse>, Status> {
        let caller = PeerIdentity::of(&request);
        let mut requests = request.into_inner();
        let mut call =
            PutCall::new(self.pool.clone(), self.packs.clone(), self.spool.clone(), self.clock.clone());
        let turn = self.puts.acquire().await.map_err(|_| StorageError::Stopping)?;
        while let Some(request) = requests.message().await? {
            if let Some(Item::Header(header)) = &request.item {
                may_use(&caller, header.blob.as_ref())?;
            }
            call.item(request.item).await?;
        }
        let received = call.end().await?;
        // What waits for its pack holds no memory of this call any more.
        drop(turn);
        Ok(Response::new(received.wait().await?))
    }

    async fn get_blob(&self, request: Request<GetBlobRequest>) -> Result<Response<BlobStream>, Status> {
        may_use(&PeerIdentity::of(&request), request.get_ref().blob.as_ref())?;
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
        let ids = blob_ids(&request.blobs)?;
        let asked = !request.keep_until.is_empty();
        let keep = asked.then(|| keep_until(&request.keep_until)).transpose()?;
        let lengths = stat_blobs(&self.pool, &scope, class, &ids, keep).await?;
        let blobs = lengths
            .into_iter()
            .map(|length| BlobStat { present: length.is_some(), length: length.unwrap_or(0) })
            .collect();
        Ok(Response::new(StatBlobsResponse { blobs }))
    }

    async fn extend_lock(
        &self,
        request: Request<ExtendLockRequest>,
    ) -> Result<Response<ExtendLockResponse>, Status> {
        let request = request.into_inner();
        let (scope, class) = (scope(&request.tenant)?, class(&request.class)?);
        let (ids, keep) = (blob_ids(&request.blobs)?, keep_until(&request.keep_until)?);
        let locked = self.locks.extend(&scope, class, &ids, keep).await?;
        Ok(Response::new(ExtendLockResponse { locked }))
    }

    async fn locate_blobs(
        &self,
        request: Request<LocateBlobsRequest>,
    ) -> Result<Response<LocateBlobsResponse>, Status> {
        let request = request.into_inner();
        let scope = scope(&request.tenant)?;
        let places = locate(&self.pool, &scope, &classed_blobs(&request.blobs)?).await?;
        let places = places.into_iter().map(|place| BlobPlace {
            pack_id: place.pack_id.to_string(),
            ordinal: place.ordinal.unsigned_abs(),
            key_locked_until: place.key_locked_until.map(|until| until.to_string()).unwrap_or_default(),
        });
        Ok(Response::new(LocateBlobsResponse { places: places.collect() }))
    }

    async fn shred(&self, request: Request<ShredRequest>) -> Result<Response<ShredResponse>, Status> {
        let ShredRequest { tenant, leaf_index } = request.into_inner();
        let keys = self.shredder.shred(&scope(&tenant)?, leaf_index).await?;
        Ok(Response::new(ShredResponse { keys }))
    }

    async fn list_packs(
        &self,
        request: Request<ListPacksRequest>,
    ) -> Result<Response<ListPacksResponse>, Status> {
        let ListPacksRequest { after_pack_id, limit } = request.into_inner();
        let after = Some(after_pack_id).filter(|id| !id.is_empty());
        let after =
            after.map(|id| id.parse()).transpose().map_err(|_| invalid("the pack id is not a UUID"))?;
        let limit = if limit == 0 { LIST_PACKS_MAX } else { limit };
        if limit > LIST_PACKS_MAX {
            return Err(invalid(format!("at most {LIST_PACKS_MAX} packs are listed at once")));
        }
        let rows = pack_rows_after(&self.pool, after, limit.into()).await?;
        let packs = rows.into_iter().map(|row| PackSummary {
            pack_id: row.pack_id.to_string(),
            tenant: row.group.scope.to_string(),
            length: row.length,
        });
        Ok(Response::new(ListPacksResponse { packs: packs.collect() }))
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
        // Whoever reads every pack comes by often enough. That a lock stays short does not make a pack less whole.
        if report.findings.is_empty()
            && let Err(error) = self.locks.renew(&row, self.clock.now()).await
        {
            error!(pack = %pack_id, %error, "the lock of a pack that stays while the archive lives cannot be extended");
        }
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
