//! The services behind the gateway, and what every call to them carries.

use std::time::Duration;

use openarchive_proto::{
    index::v1::index_service_client::IndexServiceClient,
    ingest::v1::{Scope, catalogue_service_client::CatalogueServiceClient, scope},
    trust::v1::{Log, trust_service_client::TrustServiceClient},
    worker::v1::worker_service_client::WorkerServiceClient,
};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use tonic::{Request, metadata::MetadataValue};

use crate::{caller::Caller, request_id::RequestId};

/// Longest wait for a service's answer.
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a proof: it may wait for the next checkpoint.
pub(crate) const PROOF_TIME_MAX: Duration = Duration::from_secs(50);

/// Clients; clones share their connections.
#[derive(Clone)]
pub(crate) struct Backends {
    pub(crate) catalogue: CatalogueServiceClient<RpcChannel>,
    pub(crate) index: IndexServiceClient<RpcChannel>,
    pub(crate) trust: TrustServiceClient<RpcChannel>,
    pub(crate) worker: WorkerServiceClient<RpcChannel>,
}

impl Backends {
    pub(crate) fn new(
        catalogue: RpcChannel,
        index: RpcChannel,
        trust: RpcChannel,
        worker: RpcChannel,
    ) -> Self {
        Self {
            catalogue: CatalogueServiceClient::new(catalogue)
                .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX),
            index: IndexServiceClient::new(index).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX),
            trust: TrustServiceClient::new(trust).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX),
            worker: WorkerServiceClient::new(worker).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX),
        }
    }
}

/// A call with its deadline and the request's id.
pub(crate) fn call<T>(message: T, request: &RequestId, deadline: Duration) -> Request<T> {
    let mut call = Request::new(message);
    call.set_timeout(deadline);
    if let Ok(id) = MetadataValue::try_from(request.as_str()) {
        call.metadata_mut().insert("x-request-id", id);
    }
    call
}

impl Caller {
    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        call(message, &self.request, CALL_TIME_MAX)
    }

    pub(crate) fn log(&self, stream: &str) -> Log {
        Log { tenant: self.tenant.to_string(), stream: stream.to_owned() }
    }
}

/// Everything of the tenant: there are no narrower scopes yet.
pub(crate) const fn everything() -> Scope {
    Scope { kind: Some(scope::Kind::All(scope::All {})) }
}
