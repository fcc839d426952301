//! The gRPC service that the core's other services call: parse, call, map.

mod agents;
mod completeness;
mod governance;
mod messages;
mod open;
mod proof;

use std::sync::Arc;

use openarchive_domain::{AgentRef, Digest, Tenant};
use openarchive_proto::ingest::v1 as proto;
use openarchive_proto::ingest::v1::{
    CompletenessRequest, CompletenessResponse, CreateEnrolmentRequest, CreateEnrolmentResponse,
    GetMessageRequest, GetMessageResponse, GetMessagesRequest, GetMessagesResponse, GetProofRequest,
    GetProofResponse, ListAgentsRequest, ListAgentsResponse, ListMessagesRequest, ListMessagesResponse,
    OpenMessageRequest, OpenMessageResponse, RevokeAgentRequest, RevokeAgentResponse, Scope,
    catalogue_service_server::CatalogueService, scope,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    core::Core,
    enrolment,
    failure::{Failure, FieldError},
    offer::parse_digest,
    policies,
};

/// Serves catalogue reads.
#[derive(Debug)]
pub struct CatalogueApi {
    core: Arc<Core>,
}

impl CatalogueApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// Proof that the caller said whose mail it may see; for now only everybody's.
#[derive(Debug, Clone, Copy)]
struct EveryMessage;

fn parse_scope(scope: Option<&Scope>) -> Result<EveryMessage, FieldError> {
    match scope.and_then(|scope| scope.kind.as_ref()) {
        Some(scope::Kind::All(_)) => Ok(EveryMessage),
        None => Err(FieldError::new("scope", "said: `all` is the only one for now")),
    }
}

fn parse_tenant(tenant: &str) -> Result<Tenant, FieldError> {
    tenant.parse().map_err(|_| FieldError::new("tenant", "the name of a tenant"))
}

/// Scope, tenant and message of a read.
fn parse_message(
    scope: Option<&Scope>,
    tenant: &str,
    message: &[u8],
) -> Result<(Tenant, Digest), FieldError> {
    parse_scope(scope)?;
    Ok((parse_tenant(tenant)?, parse_digest(message, "message")?))
}

#[tonic::async_trait]
impl CatalogueService for CatalogueApi {
    type OpenMessageStream = ReceiverStream<Result<OpenMessageResponse, Status>>;

    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let request = request.into_inner();
        let (tenant, message) = parse_message(request.scope.as_ref(), &request.tenant, &request.message)
            .map_err(Failure::from)?;
        Ok(Response::new(messages::get(&self.core, &tenant, &message).await?))
    }

    async fn get_messages(
        &self,
        request: Request<GetMessagesRequest>,
    ) -> Result<Response<GetMessagesResponse>, Status> {
        let request = request.into_inner();
        parse_scope(request.scope.as_ref()).map_err(Failure::from)?;
        let tenant = parse_tenant(&request.tenant).map_err(Failure::from)?;
        let digests: Result<Vec<Digest>, _> =
            request.messages.iter().map(|message| parse_digest(message, "messages")).collect();
        let digests = digests.map_err(Failure::from)?;
        Ok(Response::new(messages::get_several(&self.core, &tenant, &digests).await?))
    }

    async fn open_message(
        &self,
        request: Request<OpenMessageRequest>,
    ) -> Result<Response<Self::OpenMessageStream>, Status> {
        let request = request.into_inner();
        let (tenant, message) = parse_message(request.scope.as_ref(), &request.tenant, &request.message)
            .map_err(Failure::from)?;
        Ok(Response::new(open::open(&self.core, tenant, message).await?))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.into_inner();
        parse_scope(request.scope.as_ref()).map_err(Failure::from)?;
        let tenant = parse_tenant(&request.tenant).map_err(Failure::from)?;
        let messages = messages::list(&self.core, &tenant, request.after_ordinal, request.limit).await?;
        Ok(Response::new(ListMessagesResponse { messages }))
    }

    async fn get_proof(
        &self,
        request: Request<GetProofRequest>,
    ) -> Result<Response<GetProofResponse>, Status> {
        let request = request.into_inner();
        let (tenant, message) = parse_message(request.scope.as_ref(), &request.tenant, &request.message)
            .map_err(Failure::from)?;
        let proof = proof::prove(&self.core, &tenant, &message, request.observation).await?;
        Ok(Response::new(GetProofResponse { proof }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        let ListAgentsRequest { tenant, agent } = request.into_inner();
        let tenant = parse_tenant(&tenant).map_err(Failure::from)?;
        let agents = if agent.is_empty() {
            agents::list(&self.core, &tenant).await?
        } else {
            let name = agent.parse().map_err(|_| FieldError::new("agent", "the name of an agent, or empty"));
            agents::of(&self.core, &AgentRef { tenant, name: name.map_err(Failure::from)? }).await?
        };
        Ok(Response::new(ListAgentsResponse { agents }))
    }

    async fn create_enrolment(
        &self,
        request: Request<CreateEnrolmentRequest>,
    ) -> Result<Response<CreateEnrolmentResponse>, Status> {
        Ok(Response::new(enrolment::create(&self.core, request.into_inner()).await?))
    }

    async fn revoke_agent(
        &self,
        request: Request<RevokeAgentRequest>,
    ) -> Result<Response<RevokeAgentResponse>, Status> {
        Ok(Response::new(enrolment::revoke(&self.core, request.into_inner()).await?))
    }

    async fn completeness(
        &self,
        request: Request<CompletenessRequest>,
    ) -> Result<Response<CompletenessResponse>, Status> {
        let request = request.into_inner();
        let question = completeness::Question::parse(&request).map_err(Failure::from)?;
        Ok(Response::new(CompletenessResponse { rows: completeness::answer(&self.core, &question).await? }))
    }

    async fn set_hold(
        &self,
        request: Request<proto::SetHoldRequest>,
    ) -> Result<Response<proto::SetHoldResponse>, Status> {
        let leaf_index = governance::set_hold(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::SetHoldResponse { leaf_index }))
    }

    async fn release_hold(
        &self,
        request: Request<proto::ReleaseHoldRequest>,
    ) -> Result<Response<proto::ReleaseHoldResponse>, Status> {
        let leaf_index = governance::release_hold(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::ReleaseHoldResponse { leaf_index }))
    }

    async fn list_holds(
        &self,
        request: Request<proto::ListHoldsRequest>,
    ) -> Result<Response<proto::ListHoldsResponse>, Status> {
        Ok(Response::new(governance::list_holds(&self.core, request.into_inner()).await?))
    }

    async fn shred_messages(
        &self,
        request: Request<proto::ShredMessagesRequest>,
    ) -> Result<Response<proto::ShredMessagesResponse>, Status> {
        let leaf_index = governance::shred(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::ShredMessagesResponse { leaf_index }))
    }

    async fn get_shred(
        &self,
        request: Request<proto::GetShredRequest>,
    ) -> Result<Response<proto::GetShredResponse>, Status> {
        Ok(Response::new(governance::get_shred(&self.core, request.into_inner()).await?))
    }

    async fn finish_shred(
        &self,
        request: Request<proto::FinishShredRequest>,
    ) -> Result<Response<proto::FinishShredResponse>, Status> {
        governance::finish_shred(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::FinishShredResponse {}))
    }

    async fn get_shred_certificate(
        &self,
        request: Request<proto::GetShredCertificateRequest>,
    ) -> Result<Response<proto::GetShredCertificateResponse>, Status> {
        Ok(Response::new(governance::certificate(&self.core, request.into_inner()).await?))
    }

    async fn plan_expiry(
        &self,
        request: Request<proto::PlanExpiryRequest>,
    ) -> Result<Response<proto::PlanExpiryResponse>, Status> {
        Ok(Response::new(governance::plan_expiry(&self.core, request.into_inner()).await?))
    }

    async fn run_expiry(
        &self,
        request: Request<proto::RunExpiryRequest>,
    ) -> Result<Response<proto::RunExpiryResponse>, Status> {
        Ok(Response::new(governance::run_expiry(&self.core, request.into_inner()).await?))
    }

    async fn lift_suspension(
        &self,
        request: Request<proto::LiftSuspensionRequest>,
    ) -> Result<Response<proto::LiftSuspensionResponse>, Status> {
        let leaf_index = governance::lift_suspension(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::LiftSuspensionResponse { leaf_index }))
    }

    async fn list_quarantine(
        &self,
        request: Request<proto::ListQuarantineRequest>,
    ) -> Result<Response<proto::ListQuarantineResponse>, Status> {
        Ok(Response::new(governance::list_quarantine(&self.core, request.into_inner()).await?))
    }

    async fn apply_policies(
        &self,
        request: Request<proto::ApplyPoliciesRequest>,
    ) -> Result<Response<proto::ApplyPoliciesResponse>, Status> {
        Ok(Response::new(policies::apply(&self.core, request.into_inner()).await?))
    }

    async fn release_quarantine(
        &self,
        request: Request<proto::ReleaseQuarantineRequest>,
    ) -> Result<Response<proto::ReleaseQuarantineResponse>, Status> {
        let leaf_index = governance::release_quarantine(&self.core, request.into_inner()).await?;
        Ok(Response::new(proto::ReleaseQuarantineResponse { leaf_index }))
    }
}
