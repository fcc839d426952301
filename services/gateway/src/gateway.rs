//! Composition: what the gateway stands on, and its routes.

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use openarchive_domain::{Clock, Tenant};
use openarchive_rpc::RpcChannel;
use openarchive_schema::TransactionError;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{
    audit::{Action, AuditTrail},
    backends::Backends,
    caller::Caller,
    extract::{BODY_BYTES_MAX, LARGE_BODIES_AT_ONCE_MAX},
    openapi,
    problem::{Kind, Problem},
    request_id::with_request_id,
    routes::{self, HIGHLIGHTS_AT_ONCE_MAX, LastHealth, TEXT_VIEWS_MAX},
    token::{self, TokenSummary},
};

/// What the gateway needs. Channels lead to ingest's catalogue, the index, trust and the worker.
pub struct GatewayConfig {
    /// A database that `openarchive_schema::migrate` has brought up to date.
    pub pool: PgPool,
    pub catalogue: RpcChannel,
    pub index: RpcChannel,
    pub trust: RpcChannel,
    pub worker: RpcChannel,
    pub clock: Arc<dyn Clock>,
}

/// What every route stands on.
pub(crate) struct Services {
    pub(crate) pool: PgPool,
    pub(crate) backends: Backends,
    pub(crate) text_views: Semaphore,
    pub(crate) highlights: Semaphore,
    pub(crate) large_bodies: Semaphore,
    pub(crate) last_health: LastHealth,
    audit: AuditTrail,
}

impl Services {
    /// Answers what `read` answers, once the leaf that says so is durable; both go on at the same time. What was not
    /// found, or was refused, is an attempt to read and is recorded like any other.
    pub(crate) async fn audited<T>(
        &self,
        caller: &Caller,
        action: Action,
        object: &str,
        read: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let (recorded, answer) = tokio::join!(self.audit.record(caller, action, object), read);
        recorded?;
        answer
    }

    /// Like [`Self::audited`], but the leaf follows the read: for what begins to stream.
    pub(crate) async fn audited_after<T>(
        &self,
        caller: &Caller,
        action: Action,
        object: &str,
        read: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let answer = read.await;
        self.audit.record(caller, action, object).await?;
        answer
    }

    /// Acts only once the leaf that says so is durable: for what changes something.
    pub(crate) async fn audited_before<T>(
        &self,
        caller: &Caller,
        action: Action,
        object: &str,
        act: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.audit.record(caller, action, object).await?;
        act.await
    }
}

/// The REST service.
pub struct Gateway;

impl Gateway {
    /// All routes, for [`crate::serve`]. Needs a tokio runtime when it is called upon, not before.
    pub fn router(config: GatewayConfig) -> Router {
        let GatewayConfig { pool, catalogue, index, trust, worker, clock } = config;
        let backends = Backends::new(catalogue, index, trust, worker);
        let audit = AuditTrail { pool: pool.clone(), trust: backends.trust.clone(), clock: clock.clone() };
        let services = Services {
            pool,
            backends,
            text_views: Semaphore::new(TEXT_VIEWS_MAX),
            highlights: Semaphore::new(HIGHLIGHTS_AT_ONCE_MAX),
            large_bodies: Semaphore::new(LARGE_BODIES_AT_ONCE_MAX),
            last_health: LastHealth::default(),
            audit,
        };
        let (router, _) = routes::all().split_for_parts();
        router
            .merge(openapi::route())
            .fallback(async || Problem::not_found("there is nothing at this path: see /api/v1/openapi.json"))
            .method_not_allowed_fallback(async || {
                Problem::new(
                    Kind::MethodNotAllowed,
                    "this path does not take this method: see /api/v1/openapi.json",
                )
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(clock, with_request_id))
            .with_state(Arc::new(services))
    }

    /// Makes a token for `tenant` unless there ever was one. Durable when it returns; the text cannot be had again,
    /// so a caller that dies before it has kept it goes on with [`Self::issue_token`].
    pub async fn ensure_first_token(
        pool: &PgPool,
        tenant: &Tenant,
        clock: &dyn Clock,
    ) -> Result<Option<String>, TransactionError> {
        token::ensure_first(pool, tenant, clock).await
    }

    /// Every token that `tenant` ever had, oldest first, revoked ones too.
    pub async fn list_tokens(pool: &PgPool, tenant: &Tenant) -> Result<Vec<TokenSummary>, sqlx::Error> {
        token::list(pool, tenant).await
    }

    /// Refuses a token from its next request on, and answers whether `tenant` has one of that id. Durable when it
    /// returns; revoking again changes nothing.
    pub async fn revoke_token(
        pool: &PgPool,
        tenant: &Tenant,
        id: &str,
        clock: &dyn Clock,
    ) -> Result<bool, TransactionError> {
        token::revoke(pool, tenant, id, clock).await
    }

    /// Makes a further token for `tenant`. Durable when it returns.
    pub async fn issue_token(
        pool: &PgPool,
        tenant: &Tenant,
        clock: &dyn Clock,
    ) -> Result<String, TransactionError> {
        token::issue(pool, tenant, clock).await
    }
}
