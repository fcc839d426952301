//! The gRPC service that agents call: parse, call, map.

mod offers;
mod status;
mod uploads;

use std::{collections::BTreeSet, sync::Arc};

use openarchive_domain::AgentRef;
use openarchive_proto::ingest::v1::{
    CommitMessagesRequest, CommitMessagesResponse, CommitResult, EnrolRequest, EnrolResponse,
    GetConsistencyRequest, GetConsistencyResponse, Mismatch, MissingBlobs as ProtoMissing,
    OfferMessagesRequest, OfferMessagesResponse, RenewCertificateRequest, RenewCertificateResponse,
    ReportStatusRequest, ReportStatusResponse, SeatTaken, UploadBlobsRequest, UploadBlobsResponse,
    agent_service_server::AgentService, commit_result::Outcome as ProtoOutcome,
};
use openarchive_rpc::{AgentIdentity, PeerIdentity, refusal};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::{
    commit::{CommitItem, MissingBlobs, Outcome, commit},
    core::Core,
    enrolment,
    failure::{Failure, FieldError},
    offer::Offer,
    offered_class::refuse_other_classes,
};

/// Most mails of one commit.
pub const COMMIT_ITEMS_MAX: usize = 256;
/// Most bytes of envelopes in one commit: in its receipts they are base64 of base64, and must fit one answer.
pub const COMMIT_ENVELOPE_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Serves agents. Each call's tenant and agent come from the caller's identity and from nowhere else.
#[derive(Debug)]
pub struct AgentApi {
    core: Arc<Core>,
}

impl AgentApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Asked first by every method that an agent with a certificate calls: its tenant is this archive's, and it was not
    /// revoked.
    async fn admit(&self, caller: AgentIdentity) -> Result<AgentRef, Status> {
        let agent = caller.agent;
        if !self.core.tenants.contains(&agent.tenant) {
            let message = "the client certificate's tenant is not one of this archive";
            return Err(refusal(Code::PermissionDenied, "UNKNOWN_TENANT", message));
        }
        enrolment::refuse_revoked(&self.core, &agent).await?;
        Ok(agent)
    }
}

fn parse_items(request: CommitMessagesRequest) -> Result<Vec<CommitItem>, Failure> {
    if request.items.len() > COMMIT_ITEMS_MAX {
        return Err(FieldError::new("items", format!("at most {COMMIT_ITEMS_MAX}")).into());
    }
    let mut items = Vec::with_capacity(request.items.len());
    let (mut seats, mut envelope_bytes) = (BTreeSet::new(), 0);
    for (position, item) in request.items.into_iter().enumerate() {
        let offer = Offer::parse(item.offer, &format!("items[{position}].offer"))?;
        if !seats.insert(offer.seat) {
            let field = format!("items[{position}].offer.seq");
            return Err(FieldError::new(field, "another seat than every other item's").into());
        }
        envelope_bytes += offer.envelope.value().len();
        let field = || FieldError::new(format!("items[{position}].class"), "a retention class");
        items.push(CommitItem { offer, class: item.class.parse().map_err(|_| field())? });
    }
    if envelope_bytes > COMMIT_ENVELOPE_BYTES_MAX {
        let expected =
            format!("of at most {COMMIT_ENVELOPE_BYTES_MAX} bytes of envelopes: commit fewer at once");
        return Err(FieldError::new("items", expected).into());
    }
    Ok(items)
}

#[tonic::async_trait]
impl AgentService for AgentApi {
    type OfferMessagesStream = ReceiverStream<Result<OfferMessagesResponse, Status>>;

    /// The one call without a certificate: the token says who calls.
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Ok(Response::new(enrolment::enrol(&self.core, request.into_inner()).await?))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        let agent = self.admit(caller).await?;
        Ok(Response::new(enrolment::renew(&self.core, &agent, request.into_inner().csr).await?))
    }

    async fn offer_messages(
        &self,
        request: Request<Streaming<OfferMessagesRequest>>,
    ) -> Result<Response<Self::OfferMessagesStream>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        let agent = self.admit(caller).await?;
        Ok(Response::new(offers::answer(Arc::clone(&self.core), agent, request.into_inner())))
    }

    async fn upload_blobs(
        &self,
        request: Request<Streaming<UploadBlobsRequest>>,
    ) -> Result<Response<UploadBlobsResponse>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        let agent = self.admit(caller).await?;
        uploads::pass_on(&self.core, &agent.tenant, request.into_inner()).await.map(Response::new)
    }

    async fn commit_messages(
        &self,
        request: Request<CommitMessagesRequest>,
    ) -> Result<Response<CommitMessagesResponse>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        let agent = self.admit(caller).await?;
        let items = parse_items(request.into_inner())?;
        let core = Arc::clone(&self.core);
        // A task of its own: a caller that goes away does not stop a commit half-way.
        let committed = async move {
            let rule = core.retention.rule(&core.pool).await?;
            refuse_other_classes(&core, &rule, &agent, &items).await?;
            let outcomes = commit(&core, &rule, &agent, &items).await?;
            Ok::<_, Failure>((items, outcomes))
        };
        let (items, outcomes) =
            tokio::spawn(committed.in_current_span()).await.map_err(|_| Failure::Task)??;
        let results = items
            .iter()
            .zip(outcomes)
            .map(|(item, outcome)| CommitResult { seq: item.offer.seat.seq, outcome: Some(outcome.into()) });
        Ok(Response::new(CommitMessagesResponse { results: results.collect() }))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Result<Response<ReportStatusResponse>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        self.admit(caller.clone()).await?;
        Ok(Response::new(status::report(&self.core, &caller, request.into_inner()).await?))
    }

    async fn get_consistency(
        &self,
        request: Request<GetConsistencyRequest>,
    ) -> Result<Response<GetConsistencyResponse>, Status> {
        let caller = PeerIdentity::agent_of(&request)?;
        let agent = self.admit(caller).await?;
        let GetConsistencyRequest { old_size, new_size } = request.into_inner();
        let proof = self.core.ledger.consistency(&agent.tenant, old_size, new_size).await;
        // Which sizes are asked for is the agent's own doing, so trust's refusal is for the agent.
        let proof = proof.map_err(|status| Status::new(status.code(), status.message()))?;
        Ok(Response::new(GetConsistencyResponse { hashes: proof.hashes }))
    }
}

impl From<Outcome> for ProtoOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Receipt(text) => Self::Receipt(text),
            Outcome::Missing(MissingBlobs { skeleton, parts }) => Self::Missing(ProtoMissing {
                skeleton,
                parts: parts.iter().map(|part| part.as_bytes().to_vec().into()).collect(),
            }),
            Outcome::Mismatch(detail) => Self::Mismatch(Mismatch { detail }),
            Outcome::SeatTaken => Self::SeatTaken(SeatTaken {}),
        }
    }
}
