//! Who read what, as leaves of the tenant's audit log.
//!
//! Order of writes: leaf durable, then what opens it, then the answer. A crash between them leaves a leaf without
//! answer, never an answer without leaf.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openarchive_domain::{Clock, random};
use openarchive_ledger::{
    commitment::{Field, Salt},
    leaf::AuditLeaf,
    origin::LogId,
};
use openarchive_proto::trust::v1::{AppendEntry, AppendRequest, trust_service_client::TrustServiceClient};
use openarchive_rpc::RpcChannel;
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;
use tracing::error;

use crate::{
    backends::call,
    caller::Caller,
    problem::{Kind, Problem},
    refusal,
};

/// Longest wait for a leaf to be durable; beyond it there is no answer.
const APPEND_TIME_MAX: Duration = Duration::from_secs(10);

/// What a client did. The names stand in leaves for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Search,
    /// With pieces of the found mails' text.
    SearchHighlight,
    MessageView,
    MessageRead,
    MessageText,
    MessageProof,
    CompletenessRead,
    AuditList,
    AgentsList,
    AgentEnrol,
    AgentRevoke,
    JobsList,
    JobRetry,
    HoldSet,
    HoldsList,
    HoldRelease,
    QuarantineList,
    QuarantineRelease,
    ShredOrder,
    ShredView,
    ShredCertificate,
    ExpiryPlan,
    ExpiryRun,
    ExpiryResume,
}

impl Action {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::SearchHighlight => "search.highlight",
            Self::MessageView => "message.view",
            Self::MessageRead => "message.read",
            Self::MessageText => "message.text",
            Self::MessageProof => "message.proof",
            Self::CompletenessRead => "completeness.read",
            Self::AuditList => "audit.list",
            Self::AgentsList => "agents.list",
            Self::AgentEnrol => "agents.enrol",
            Self::AgentRevoke => "agents.revoke",
            Self::JobsList => "jobs.list",
            Self::JobRetry => "jobs.retry",
            Self::HoldSet => "holds.set",
            Self::HoldsList => "holds.list",
            Self::HoldRelease => "holds.release",
            Self::QuarantineList => "quarantine.list",
            Self::QuarantineRelease => "quarantine.release",
            Self::ShredOrder => "shreds.order",
            Self::ShredView => "shreds.view",
            Self::ShredCertificate => "shreds.certificate",
            Self::ExpiryPlan => "expiry.plan",
            Self::ExpiryRun => "expiry.run",
            Self::ExpiryResume => "expiry.resume",
        }
    }
}

/// Writes audit leaves and what opens them.
pub(crate) struct AuditTrail {
    pub(crate) pool: PgPool,
    pub(crate) trust: TrustServiceClient<RpcChannel>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl AuditTrail {
    /// Returns once the leaf is durable and its opening is kept. `object` says what it was done to; it may be
    /// personal data: the leaf holds only a commitment to these bytes. Fails if it is not certain that the leaf
    /// stands; whoever asked must then get nothing.
    pub(crate) async fn record(&self, caller: &Caller, action: Action, object: &str) -> Result<(), Problem> {
        let salt = Salt::new(random::bytes());
        let (commitment, _opening) = salt.commit(Field::Object, object.as_bytes().to_vec());
        let leaf = AuditLeaf {
            tenant: caller.tenant.clone().into(),
            action: action.as_str().to_owned(),
            actor: caller.token_id.clone(),
            request: caller.request.as_str().to_owned(),
            object: Some(commitment),
            occurred_at: self.clock.now(),
        };
        let started = Instant::now();
        let index = self.append(caller, &leaf).await?;
        openarchive_telemetry::metrics::AUDIT_LEAF_SECONDS.observe([], started.elapsed().as_secs_f64());
        let kept = self.keep(caller, &leaf, object, &salt, index).await;
        kept.map_err(|error| refusal::database(&error))
    }

    async fn keep(
        &self,
        caller: &Caller,
        leaf: &AuditLeaf,
        object: &str,
        salt: &Salt,
        index: u64,
    ) -> Result<(), sqlx::Error> {
        let mut tx = begin(&self.pool, TenantScope::One(&caller.tenant)).await?;
        sqlx::query!(
            "insert into gateway.audit_record
               (tenant, request, action, token_id, object, salt, leaf_index, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            caller.tenant.as_str(),
            leaf.request,
            leaf.action,
            caller.token_id,
            object,
            salt.as_bytes().as_slice(),
            index.cast_signed(),
            leaf.occurred_at.as_millis()
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn append(&self, caller: &Caller, leaf: &AuditLeaf) -> Result<u64, Problem> {
        let entry = AppendEntry {
            idempotency_key: leaf.idempotency_key().as_bytes().to_vec().into(),
            expected_previous: None,
            body: leaf.body().to_string(),
        };
        let append = AppendRequest { log: Some(caller.log(LogId::AUDIT)), entries: vec![entry] };
        let append = call(append, &caller.request, APPEND_TIME_MAX);
        let unavailable =
            || Problem::unavailable("this read cannot be recorded, so it is not answered: try again");
        let answer = self.trust.clone().append(append).await.map_err(|status| {
            error!(code = ?status.code(), message = status.message(), "an audit leaf is not appended");
            unavailable()
        })?;
        let [standing] = answer.get_ref().leaves.as_slice() else {
            error!("trust answers an append of one leaf with another number of leaves");
            return Err(unavailable());
        };
        // The same request id and action give the leaf that stands already. If that is not this leaf, this read is
        // not recorded: a client could read under the name of an earlier read.
        match AuditLeaf::parse(&standing.body) {
            Ok(stands) if stands.leaf == *leaf => Ok(standing.index),
            Ok(_) => Err(Problem::new(
                Kind::RequestIdUsed,
                "this X-Request-Id already names another request: send another, or none",
            )),
            Err(error) => {
                error!(%error, "trust answers an append with what is no audit leaf");
                Err(unavailable())
            }
        }
    }
}
