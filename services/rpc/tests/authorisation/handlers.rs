//! Every service of the archive, with handlers that only say who reached them.

use futures::stream::Empty;
use openarchive_proto::{index::v1::*, ingest::v1::*, storage::v1::*, trust::v1::*, worker::v1::*};
use openarchive_rpc::{PeerIdentity, refusal};
use tonic::{Code, Request, Response, Status, Streaming};

/// Reason of a status that a handler gave.
pub(crate) const REACHED: &str = "REACHED";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached;

/// A caller as a handler sees it; an agent with its certificate's serial number and end.
pub(crate) fn seen(caller: &PeerIdentity) -> String {
    match caller {
        PeerIdentity::Service(role) => format!("{role:?}"),
        PeerIdentity::Agent(agent) => format!("{} {} {}", agent.agent, agent.serial, agent.not_after),
        PeerIdentity::Anonymous => "WithoutCertificate".to_owned(),
    }
}

fn reached<T>(request: &Request<T>) -> Status {
    refusal(Code::Aborted, REACHED, seen(&PeerIdentity::of(request)))
}

macro_rules! service {
    ($service:path {
        $([$stream:ident: $item:ty])?
        $($method:ident($request:ty) -> $response:ty;)*
    }) => {
        #[tonic::async_trait]
        impl $service for Reached {
            $(type $stream = Empty<Result<$item, Status>>;)?
            $(async fn $method(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                Err(reached(&request))
            })*
        }
    };
}

service!(agent_service_server::AgentService {
    [OfferMessagesStream: OfferMessagesResponse]
    offer_messages(Streaming<OfferMessagesRequest>) -> Self::OfferMessagesStream;
    upload_blobs(Streaming<UploadBlobsRequest>) -> UploadBlobsResponse;
    commit_messages(CommitMessagesRequest) -> CommitMessagesResponse;
    report_status(ReportStatusRequest) -> ReportStatusResponse;
    get_consistency(GetConsistencyRequest) -> GetConsistencyResponse;
    enrol(EnrolRequest) -> EnrolResponse;
    renew_certificate(RenewCertificateRequest) -> RenewCertificateResponse;
});

service!(catalogue_service_server::CatalogueService {
    [OpenMessageStream: OpenMessageResponse]
    get_message(GetMessageRequest) -> GetMessageResponse;
    get_messages(GetMessagesRequest) -> GetMessagesResponse;
    open_message(OpenMessageRequest) -> Self::OpenMessageStream;
    list_messages(ListMessagesRequest) -> ListMessagesResponse;
    get_proof(GetProofRequest) -> GetProofResponse;
    list_agents(ListAgentsRequest) -> ListAgentsResponse;
    completeness(CompletenessRequest) -> CompletenessResponse;
    set_hold(SetHoldRequest) -> SetHoldResponse;
    release_hold(ReleaseHoldRequest) -> ReleaseHoldResponse;
    list_holds(ListHoldsRequest) -> ListHoldsResponse;
    shred_messages(ShredMessagesRequest) -> ShredMessagesResponse;
    get_shred(GetShredRequest) -> GetShredResponse;
    finish_shred(FinishShredRequest) -> FinishShredResponse;
    get_shred_certificate(GetShredCertificateRequest) -> GetShredCertificateResponse;
    plan_expiry(PlanExpiryRequest) -> PlanExpiryResponse;
    run_expiry(RunExpiryRequest) -> RunExpiryResponse;
    lift_suspension(LiftSuspensionRequest) -> LiftSuspensionResponse;
    list_quarantine(ListQuarantineRequest) -> ListQuarantineResponse;
    release_quarantine(ReleaseQuarantineRequest) -> ReleaseQuarantineResponse;
    apply_policies(ApplyPoliciesRequest) -> ApplyPoliciesResponse;
    create_enrolment(CreateEnrolmentRequest) -> CreateEnrolmentResponse;
    revoke_agent(RevokeAgentRequest) -> RevokeAgentResponse;
});

service!(storage_service_server::StorageService {
    [GetBlobStream: GetBlobResponse]
    put_blobs(Streaming<PutBlobsRequest>) -> PutBlobsResponse;
    get_blob(GetBlobRequest) -> Self::GetBlobStream;
    stat_blobs(StatBlobsRequest) -> StatBlobsResponse;
    extend_lock(ExtendLockRequest) -> ExtendLockResponse;
    locate_blobs(LocateBlobsRequest) -> LocateBlobsResponse;
    shred(ShredRequest) -> ShredResponse;
    list_packs(ListPacksRequest) -> ListPacksResponse;
    verify_pack(VerifyPackRequest) -> VerifyPackResponse;
    get_worm_status(GetWormStatusRequest) -> GetWormStatusResponse;
});

service!(index_service_server::IndexService {
    index_messages(IndexMessagesRequest) -> IndexMessagesResponse;
    search(SearchRequest) -> SearchResponse;
    count(CountRequest) -> CountResponse;
    explain(ExplainRequest) -> ExplainResponse;
    highlight(HighlightRequest) -> HighlightResponse;
    delete_messages(DeleteMessagesRequest) -> DeleteMessagesResponse;
    index_status(IndexStatusRequest) -> IndexStatusResponse;
    mark_filled(MarkFilledRequest) -> MarkFilledResponse;
});

service!(trust_service_server::TrustService {
    append(AppendRequest) -> AppendResponse;
    list_leaves(ListLeavesRequest) -> ListLeavesResponse;
    get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse;
    get_inclusion_proofs(GetInclusionProofsRequest) -> GetInclusionProofsResponse;
    get_consistency_proof(GetConsistencyProofRequest) -> GetConsistencyProofResponse;
    wrap_keys(WrapKeysRequest) -> WrapKeysResponse;
    unwrap_keys(UnwrapKeysRequest) -> UnwrapKeysResponse;
    issue_agent_certificate(IssueAgentCertificateRequest) -> IssueAgentCertificateResponse;
    get_log_policy(GetLogPolicyRequest) -> GetLogPolicyResponse;
    get_trust_mode(GetTrustModeRequest) -> GetTrustModeResponse;
});

service!(worker_service_server::WorkerService {
    list_jobs(ListJobsRequest) -> ListJobsResponse;
    retry_job(RetryJobRequest) -> RetryJobResponse;
    reindex(ReindexRequest) -> ReindexResponse;
});
