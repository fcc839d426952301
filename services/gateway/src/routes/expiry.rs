use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use openarchive_domain::{Digest, Timestamp};
use openarchive_proto::ingest::v1::{
    ExpiryOrder, LiftSuspensionRequest, PlanExpiryRequest, RunExpiryRequest,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{id_text, instance_text, present, reason::check_reason};
use crate::{
    audit::Action,
    backends::call,
    caller::Caller,
    extract::{JsonBody, LargeJsonBody, Parameters},
    gateway::Services,
    problem::{Kind, Problem},
    refusal::Service,
};

/// Mails of one plan, at most; the catalogue has the same limit.
pub const EXPIRY_PLAN_MESSAGES_MAX: u32 = 10_000;
/// Longest wait for a plan, and for the orders of one. What a run has ordered by then stays ordered: the same plan again
/// goes on.
const EXPIRY_TIME_MAX: Duration = Duration::from_secs(55);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// What expires by then, as YYYY-MM-DDTHH:MM:SS.mmmZ; now if absent. A plan of a time to come is to be read, not run.
    at: Option<String>,
    /// Mail whose id sorts behind this one: `next` of the plan before.
    after: Option<String>,
    /// 1 to 10,000; 10,000 if absent.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanAnswer {
    /// A file that a person can read: JSON lines, the last one with the digest of those before it. To be run as it is.
    plan: String,
    /// Mails that it lists.
    lines: u32,
    /// Those of them that a run shreds; the others are held or locked.
    expiring: u32,
    /// Where the next plan begins; absent if nothing else expires by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Since when nothing may be shredded; absent if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_at: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunWanted {
    /// As the plan was given out, byte for byte.
    plan: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAnswer {
    /// Mails of all orders.
    messages: u32,
    /// In the order of the plan.
    orders: Vec<RunOrder>,
}

/// An order to shred: see `viewShred`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunOrder {
    shred: String,
    leaf_index: u64,
    messages: u32,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeWanted {
    /// Why, for people; at most 2,000 bytes.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResumeAnswer {
    /// In the tenant's evidence log.
    leaf_index: u64,
}

/// Plan expiry: which mail's time is over, and what keeps it nevertheless. Changes nothing.
#[utoipa::path(
    get,
    path = "/api/v1/expiry/plan",
    operation_id = "planExpiry",
    tag = "governance",
    params(Asked),
    responses((status = 200, description = "The plan.", body = PlanAnswer)),
)]
pub(crate) async fn plan(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<PlanAnswer>, Problem> {
    let at = asked.at.unwrap_or_default();
    if !at.is_empty() && at.parse::<Timestamp>().is_err() {
        return Err(Problem::invalid("at must be a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ"));
    }
    let after = asked.after.map(|id| id.parse::<Digest>()).transpose();
    let after = after.map_err(|_| Problem::invalid("after must be `sha256:` and 64 hex digits"))?;
    let limit = asked.limit.unwrap_or(EXPIRY_PLAN_MESSAGES_MAX);
    if limit == 0 || limit > EXPIRY_PLAN_MESSAGES_MAX {
        return Err(Problem::invalid(format!("limit must be from 1 to {EXPIRY_PLAN_MESSAGES_MAX}")));
    }
    let from = after.map_or_else(|| "first".to_owned(), |after| after.to_string());
    let object = format!("at={at} after={from} limit={limit}");
    let read = async {
        let request = PlanExpiryRequest {
            tenant: caller.tenant.to_string(),
            at,
            after: after.map(|after| after.as_bytes().to_vec()).unwrap_or_default().into(),
            limit,
        };
        let request = call(request, &caller.request, EXPIRY_TIME_MAX);
        let answer = services.backends.catalogue.clone().plan_expiry(request).await;
        let answer = answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner();
        let plan = String::from_utf8(answer.plan.to_vec()).map_err(|_| {
            tracing::error!("the catalogue answers with a plan that is no text");
            Problem::new(Kind::Internal, "the catalogue failed: its log says why")
        })?;
        Ok(PlanAnswer {
            plan,
            lines: answer.lines,
            expiring: answer.expiring,
            next: present(id_text(&answer.next)),
            suspended_at: present(answer.suspended_at),
        })
    };
    services.audited(&caller, Action::ExpiryPlan, &object, read).await.map(Json)
}

/// Run a plan of expiry: shred what it says, and nothing else. A plan that no longer holds is refused as a whole. The same
/// plan again answers the same orders.
#[utoipa::path(
    post,
    path = "/api/v1/expiry/runs",
    operation_id = "runExpiry",
    tag = "governance",
    request_body = RunWanted,
    responses((status = 200, description = "Every order's leaf is durable. The keys follow.", body = RunAnswer)),
)]
pub(crate) async fn run(
    caller: Caller,
    State(services): State<Arc<Services>>,
    LargeJsonBody(wanted): LargeJsonBody<RunWanted>,
) -> Result<Json<RunAnswer>, Problem> {
    let object = format!("plan {}", Digest::of(wanted.plan.as_bytes()));
    let act = async {
        let request = RunExpiryRequest {
            tenant: caller.tenant.to_string(),
            plan: wanted.plan.into_bytes().into(),
            actor: caller.token_id.clone(),
        };
        let request = call(request, &caller.request, EXPIRY_TIME_MAX);
        let answer = services.backends.catalogue.clone().run_expiry(request).await;
        Ok(answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner())
    };
    let done = services.audited_before(&caller, Action::ExpiryRun, &object, act).await?;
    Ok(Json(RunAnswer { messages: done.messages, orders: done.orders.iter().map(order).collect() }))
}

/// Let shredding and expiry go on after a rebuild, which suspends them until somebody has looked at what was restored.
#[utoipa::path(
    post,
    path = "/api/v1/expiry/resume",
    operation_id = "resumeExpiry",
    tag = "governance",
    request_body = ResumeWanted,
    responses((status = 200, description = "The suspension is lifted; the leaf that says so is durable.", body = ResumeAnswer)),
)]
pub(crate) async fn resume(
    caller: Caller,
    State(services): State<Arc<Services>>,
    JsonBody(wanted): JsonBody<ResumeWanted>,
) -> Result<Json<ResumeAnswer>, Problem> {
    check_reason(&wanted.reason)?;
    let act = async {
        let request =
            LiftSuspensionRequest { tenant: caller.tenant.to_string(), actor: caller.token_id.clone() };
        let answer = services.backends.catalogue.clone().lift_suspension(caller.call(request)).await;
        let leaf_index =
            answer.map_err(|status| Service::Catalogue.refused(&status))?.into_inner().leaf_index;
        Ok(ResumeAnswer { leaf_index })
    };
    services.audited_before(&caller, Action::ExpiryResume, &wanted.reason, act).await.map(Json)
}

fn order(order: &ExpiryOrder) -> RunOrder {
    RunOrder { shred: instance_text(&order.shred), leaf_index: order.leaf_index, messages: order.messages }
}
