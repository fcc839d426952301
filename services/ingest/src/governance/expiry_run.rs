//! Carrying out a plan of expiry: exactly what it says, by orders of its own. An order's id follows from the plan, so
//! that the same plan, run again, goes on where it was interrupted.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::leaf::ShredCause;
use openarchive_proto::ingest::v1::{ExpiryOrder, RunExpiryResponse};
use openarchive_schema::{TenantScope, begin};
use tonic::Code;
use uuid::Uuid;

use super::{
    expiry::{Due, Page, due},
    expiry_plan::{ExpiryPlan, PlanLine},
    refused,
    shred_order::{SHRED_MESSAGES_MAX, ShredOrder, get, order},
    suspension::suspended_at,
};
use crate::{
    core::Core,
    failure::{Failure, FieldError},
};

/// A mail of the plan is not any more what the plan says.
pub const PLAN_CHANGED: &str = "PLAN_CHANGED";
/// The plan is one of a date to come.
pub const PLAN_EARLY: &str = "PLAN_EARLY";

/// Bytes of an order's leaf that its keys and leaves may take, at most: a leaf has 65,535.
const ORDER_BYTES_MAX: usize = 60_000;
/// What one key takes where every key is in another pack: the pack's id, its field names, a number.
const KEY_BYTES: usize = 80;
/// What one number of a leaf takes.
const LEAF_NUMBER_BYTES: usize = 24;

/// Answers the orders, each with its leaf durable. Refuses the whole plan before it orders anything if a single mail of
/// it is held, gone, or kept longer by now.
pub(crate) async fn run(
    core: &Core,
    tenant: &Tenant,
    plan: &[u8],
    actor: &str,
) -> Result<RunExpiryResponse, Failure> {
    let digest = Digest::of(plan);
    let plan = ExpiryPlan::decode(plan).filter(|plan| plan.tenant == *tenant);
    let plan =
        plan.ok_or_else(|| FieldError::new("plan", "one of this tenant, byte for byte as it was given out"))?;
    if plan.at > core.clock.now() {
        let message = format!("the plan is of {}, which is to come", plan.at);
        return Err(Failure::refused(Code::FailedPrecondition, PLAN_EARLY, message));
    }
    if suspended_at(core, tenant).await?.is_some() {
        return Err(refused(Some("suspended")));
    }
    let expiring: Vec<&PlanLine> = plan.expiring().collect();
    let orders = orders_of(&digest, &expiring, actor);
    let given = given_before(core, tenant, &orders).await?;
    let open: BTreeSet<Digest> = orders
        .iter()
        .filter(|order| !given.contains(&order.shred))
        .flat_map(|order| order.messages.iter().copied())
        .collect();
    let open: Vec<&PlanLine> = expiring.into_iter().filter(|line| open.contains(&line.message)).collect();
    refuse_changed(core, tenant, &open).await?;
    let (mut answer, mut ordered) = (RunExpiryResponse::default(), 0);
    for one in orders {
        // After a rebuild an order may not know its mail any more; its id says that it is this plan's.
        let leaf_index = if given.contains(&one.shred) {
            get(core, tenant, one.shred).await?.leaf_index
        } else {
            order(core, tenant, &one).await.map_err(|failure| stopped(failure, ordered))?
        };
        ordered += one.messages.len() as u32;
        answer.orders.push(ExpiryOrder {
            shred: one.shred.to_vec().into(),
            leaf_index,
            messages: one.messages.len() as u32,
        });
    }
    answer.messages = ordered;
    Ok(answer)
}

/// A race with a hold or with new mail, between the look at the whole plan and one of its orders.
fn stopped(failure: Failure, ordered: u32) -> Failure {
    match failure {
        Failure::Refused { code, reason, message } if ordered > 0 => {
            let message =
                format!("{message}; {ordered} mails of the plan were ordered before, no further ones");
            Failure::Refused { code, reason, message }
        }
        other => other,
    }
}

/// The plan's mail in orders that fit into a leaf, always the same for the same plan.
fn orders_of(plan: &Digest, lines: &[&PlanLine], actor: &str) -> Vec<ShredOrder> {
    let mut orders: Vec<ShredOrder> = Vec::new();
    let mut room = 0;
    for line in lines {
        let (observations, parts) = (line.observations as usize, line.parts as usize);
        let bytes = (2 * observations + parts) * KEY_BYTES + observations * LEAF_NUMBER_BYTES;
        let number = orders.len();
        match orders.last_mut() {
            Some(order) if bytes <= room && order.messages.len() < SHRED_MESSAGES_MAX => {
                order.messages.insert(line.message);
                room -= bytes;
            }
            _ => {
                orders.push(ShredOrder {
                    shred: order_id(plan, number),
                    cause: ShredCause::Expiry,
                    messages: BTreeSet::from([line.message]),
                    actor: actor.to_owned(),
                });
                room = ORDER_BYTES_MAX.saturating_sub(bytes);
            }
        }
    }
    orders
}

fn order_id(plan: &Digest, number: usize) -> [u8; 16] {
    let digest = Digest::of(format!("openarchive/expiry/v1 {plan} {number}").as_bytes());
    std::array::from_fn(|place| digest.as_bytes()[place])
}

async fn given_before(
    core: &Core,
    tenant: &Tenant,
    orders: &[ShredOrder],
) -> Result<BTreeSet<[u8; 16]>, Failure> {
    let ids: Vec<Uuid> = orders.iter().map(|order| Uuid::from_bytes(order.shred)).collect();
    let found = sqlx::query_scalar!(
        "select shred from ingest.shred where tenant = $1 and shred = any($2)",
        tenant.as_str(),
        &ids,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    Ok(found.into_iter().map(Uuid::into_bytes).collect())
}

/// Every mail must be exactly what its line says.
async fn refuse_changed(core: &Core, tenant: &Tenant, lines: &[&PlanLine]) -> Result<(), Failure> {
    let messages: Vec<Digest> = lines.iter().map(|line| line.message).collect();
    let found = due(core, tenant, Page::Of(&messages)).await?;
    let found: BTreeMap<Digest, PlanLine> =
        found.iter().filter_map(Due::line).map(|line| (line.message, line)).collect();
    let changed: Vec<Digest> = lines
        .iter()
        .filter(|line| found.get(&line.message) != Some(**line))
        .map(|line| line.message)
        .collect();
    let Some(first) = changed.first() else { return Ok(()) };
    let message = format!(
        "{} of {} mails of the plan are held, gone or kept otherwise by now, {first} first: make a new plan",
        changed.len(),
        lines.len()
    );
    Err(Failure::refused(Code::FailedPrecondition, PLAN_CHANGED, message))
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{RetentionClass, Timestamp};

    use super::*;

    fn line(number: u8, observations: u32, parts: u32) -> PlanLine {
        PlanLine {
            message: Digest::of(&[number]),
            class: RetentionClass::DEFAULT,
            expires_at: Timestamp::from_millis(0),
            length: 1,
            observations,
            parts,
            holds: Vec::new(),
            locked_until: None,
        }
    }

    fn sizes(lines: &[PlanLine]) -> Vec<usize> {
        let orders = orders_of(&Digest::of(b"plan"), &lines.iter().collect::<Vec<_>>(), "tok");
        let ids: BTreeSet<_> = orders.iter().map(|order| order.shred).collect();
        assert_eq!(ids.len(), orders.len());
        orders.iter().map(|order| order.messages.len()).collect()
    }

    #[test]
    fn an_order_has_as_many_mails_as_it_may_and_as_fit_into_its_leaf() {
        let of = |count: u8, parts| (0..count).map(|number| line(number, 1, parts)).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&of(SHRED_MESSAGES_MAX as u8, 0)), [SHRED_MESSAGES_MAX]);
        assert_eq!(sizes(&of(SHRED_MESSAGES_MAX as u8 + 1, 0)), [SHRED_MESSAGES_MAX, 1]);
        // 320 keys of one mail take half of a leaf.
        assert_eq!(sizes(&of(5, 350)), [2, 2, 1]);
        // One that may be too large for any leaf is alone.
        assert_eq!(sizes(&[line(1, 1, 0), line(2, 1, 10_000), line(3, 1, 0)]), [1, 1, 1]);
    }

    #[test]
    fn the_same_plan_has_the_same_orders_and_another_has_others() {
        let mails = [line(1, 1, 0)];
        let of = |plan: &[u8]| orders_of(&Digest::of(plan), &[&mails[0]], "tok")[0].shred;
        assert_eq!(of(b"plan"), of(b"plan"));
        assert_ne!(of(b"plan"), of(b"other"));
    }
}
