//! The core's five calls, each with a deadline and a request id.

use std::time::Duration;

use futures::{Stream, TryStreamExt, stream};
use openarchive_domain::Digest;
use openarchive_ledger::tree::PROOF_HASHES_MAX;
use openarchive_proto::ingest::v1::{
    CommitItem, CommitMessagesRequest, CommitResult, GetConsistencyRequest, Offer, OfferMessagesRequest,
    OfferMessagesResponse, ReportStatusRequest, ReportStatusResponse, UploadBlobsRequest,
    UploadBlobsResponse, agent_service_client::AgentServiceClient,
};
use openarchive_rpc::RpcChannel;
use tokio::sync::watch;
use tonic::{Request, Status};
use uuid::Uuid;

use super::{
    error::{CallError, SyncError},
    limits::{
        COMMIT_DEADLINE, CONSISTENCY_DEADLINE, OFFER_DEADLINE, REPORT_DEADLINE, RPC_MESSAGE_BYTES_MAX,
        UPLOAD_BYTES_PER_SECOND_MIN, UPLOAD_DEADLINE,
    },
};

pub(super) const OFFER: &str = "OfferMessages";
pub(super) const CONSISTENCY: &str = "GetConsistency";

/// Cheap to clone. Each call goes over the channel of now: a renewed certificate brings another one.
#[derive(Debug, Clone)]
pub(super) struct Core {
    channel: watch::Receiver<RpcChannel>,
}

impl Core {
    pub(super) const fn new(channel: watch::Receiver<RpcChannel>) -> Self {
        Self { channel }
    }

    fn client(&self) -> AgentServiceClient<RpcChannel> {
        AgentServiceClient::new(self.channel.borrow().clone())
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }

    /// Answers in the order in which the core gives them; never more than were asked for.
    pub(super) async fn offer(&self, offers: Vec<Offer>) -> Result<Vec<OfferMessagesResponse>, SyncError> {
        let asked = offers.len();
        let requests =
            stream::iter(offers.into_iter().map(|offer| OfferMessagesRequest { offer: Some(offer) }));
        let mut client = self.client();
        let answers = within(OFFER, OFFER_DEADLINE, async move {
            let answers = client.offer_messages(request(requests, OFFER_DEADLINE)).await?.into_inner();
            // One more than asked shows that there are too many, without reading them all.
            futures::StreamExt::take(answers, asked + 1).try_collect::<Vec<_>>().await
        })
        .await?;
        if answers.len() == asked {
            Ok(answers)
        } else {
            Err(SyncError::Answer { call: OFFER, what: "not one answer for each mail" })
        }
    }

    /// Durable in packs when it answers. `bytes` decides how long it may take.
    pub(super) async fn upload(
        &self,
        items: impl Stream<Item = UploadBlobsRequest> + Send + 'static,
        bytes: u64,
    ) -> Result<UploadBlobsResponse, CallError> {
        let deadline = UPLOAD_DEADLINE + Duration::from_secs(bytes / UPLOAD_BYTES_PER_SECOND_MIN);
        let mut client = self.client();
        within("UploadBlobs", deadline, async move {
            Ok(client.upload_blobs(request(items, deadline)).await?.into_inner())
        })
        .await
    }

    pub(super) async fn commit(&self, items: Vec<CommitItem>) -> Result<Vec<CommitResult>, CallError> {
        let mut client = self.client();
        within("CommitMessages", COMMIT_DEADLINE, async move {
            let request = request(CommitMessagesRequest { items }, COMMIT_DEADLINE);
            Ok(client.commit_messages(request).await?.into_inner().results)
        })
        .await
    }

    pub(super) async fn report(
        &self,
        status: ReportStatusRequest,
    ) -> Result<ReportStatusResponse, CallError> {
        let mut client = self.client();
        within("ReportStatus", REPORT_DEADLINE, async move {
            Ok(client.report_status(request(status, REPORT_DEADLINE)).await?.into_inner())
        })
        .await
    }

    /// The hashes that lead from the tree of `old_size` to that of `new_size`; what is no hash is an error.
    pub(super) async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, SyncError> {
        let mut client = self.client();
        let hashes = within(CONSISTENCY, CONSISTENCY_DEADLINE, async move {
            let request = request(GetConsistencyRequest { old_size, new_size }, CONSISTENCY_DEADLINE);
            Ok(client.get_consistency(request).await?.into_inner().hashes)
        })
        .await?;
        let hashes: Option<Vec<Digest>> =
            hashes.iter().take(PROOF_HASHES_MAX + 1).map(|hash| hash.as_ref().try_into().ok()).collect();
        hashes.ok_or(SyncError::Answer { call: CONSISTENCY, what: "a hash has not 32 bytes" })
    }
}

fn request<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    if let Ok(id) = Uuid::new_v4().to_string().parse() {
        request.metadata_mut().insert("x-request-id", id);
    }
    request
}

/// The deadline holds here too: a core that streams for ever must not hold us.
async fn within<T>(
    call: &'static str,
    deadline: Duration,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(CallError::from_status(call, &status)),
        Err(_) => {
            Err(CallError::Unreachable { call, why: format!("nothing within {} s", deadline.as_secs()) })
        }
    }
}
