//! Requests about holds, shredding and expiry: parse, call, map.

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::leaf::ShredCause;
use openarchive_proto::ingest::v1 as proto;

use super::parse_tenant;
use crate::{
    core::Core,
    failure::{Failure, FieldError},
    governance::{self, HoldRequest, ShredOrder},
    offer::parse_digest,
};

pub(super) async fn set_hold(core: &Core, request: proto::SetHoldRequest) -> Result<u64, Failure> {
    let proto::SetHoldRequest { tenant, hold, reason, query, messages, actor } = request;
    let tenant = parse_tenant(&tenant)?;
    let messages = digests(&messages)?;
    governance::set_hold(core, &tenant, HoldRequest { hold, reason, query, messages, actor }).await
}

pub(super) async fn release_hold(core: &Core, request: proto::ReleaseHoldRequest) -> Result<u64, Failure> {
    let tenant = parse_tenant(&request.tenant)?;
    governance::release_hold(core, &tenant, &request.hold, &request.actor).await
}

pub(super) async fn list_holds(
    core: &Core,
    request: proto::ListHoldsRequest,
) -> Result<proto::ListHoldsResponse, Failure> {
    let tenant = parse_tenant(&request.tenant)?;
    let message = digest_or_none(&request.message, "message")?;
    let holds = governance::list_holds(core, &tenant, message, request.released).await?;
    Ok(proto::ListHoldsResponse { holds })
}

pub(super) async fn shred(core: &Core, request: proto::ShredMessagesRequest) -> Result<u64, Failure> {
    let cause = match request.cause() {
        proto::ShredCause::Erasure => ShredCause::Erasure,
        proto::ShredCause::Expiry => ShredCause::Expiry,
        proto::ShredCause::Unspecified => {
            return Err(FieldError::new("cause", "erasure or expiry").into());
        }
    };
    let tenant = parse_tenant(&request.tenant)?;
    let order = ShredOrder {
        shred: id(&request.shred)?,
        cause,
        messages: digests(&request.messages)?.into_iter().collect(),
        actor: request.actor,
    };
    governance::order(core, &tenant, &order).await
}

pub(super) async fn get_shred(
    core: &Core,
    request: proto::GetShredRequest,
) -> Result<proto::GetShredResponse, Failure> {
    let order = governance::get(core, &parse_tenant(&request.tenant)?, id(&request.shred)?).await?;
    let cause = match order.cause {
        ShredCause::Erasure => proto::ShredCause::Erasure,
        ShredCause::Expiry => proto::ShredCause::Expiry,
    };
    Ok(proto::GetShredResponse {
        leaf_index: order.leaf_index,
        cause: cause.into(),
        messages: order.messages.iter().map(|message| message.as_bytes().to_vec().into()).collect(),
        shredded: order.shredded,
    })
}

pub(super) async fn finish_shred(core: &Core, request: proto::FinishShredRequest) -> Result<(), Failure> {
    governance::finish(core, &parse_tenant(&request.tenant)?, id(&request.shred)?).await
}

pub(super) async fn certificate(
    core: &Core,
    request: proto::GetShredCertificateRequest,
) -> Result<proto::GetShredCertificateResponse, Failure> {
    let message = parse_digest(&request.message, "message")?;
    governance::certificate(core, &parse_tenant(&request.tenant)?, &message).await
}

pub(super) async fn plan_expiry(
    core: &Core,
    request: proto::PlanExpiryRequest,
) -> Result<proto::PlanExpiryResponse, Failure> {
    let tenant = parse_tenant(&request.tenant)?;
    let at: Option<Timestamp> = match request.at.as_str() {
        "" => None,
        text => {
            let at = text.parse();
            Some(at.map_err(|_| FieldError::new("at", "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ"))?)
        }
    };
    let after = digest_or_none(&request.after, "after")?;
    governance::plan(core, &tenant, at, after, request.limit).await
}

pub(super) async fn run_expiry(
    core: &Core,
    request: proto::RunExpiryRequest,
) -> Result<proto::RunExpiryResponse, Failure> {
    let tenant = parse_tenant(&request.tenant)?;
    governance::run(core, &tenant, &request.plan, &request.actor).await
}

pub(super) async fn lift_suspension(
    core: &Core,
    request: proto::LiftSuspensionRequest,
) -> Result<u64, Failure> {
    governance::lift(core, &parse_tenant(&request.tenant)?, &request.actor).await
}

pub(super) async fn list_quarantine(
    core: &Core,
    request: proto::ListQuarantineRequest,
) -> Result<proto::ListQuarantineResponse, Failure> {
    let tenant = parse_tenant(&request.tenant)?;
    let messages = governance::quarantined(core, &tenant, request.after_ordinal, request.limit).await?;
    Ok(proto::ListQuarantineResponse { messages })
}

pub(super) async fn release_quarantine(
    core: &Core,
    request: proto::ReleaseQuarantineRequest,
) -> Result<u64, Failure> {
    let message = parse_digest(&request.message, "message")?;
    governance::release(core, &parse_tenant(&request.tenant)?, &message, &request.actor).await
}

fn digests(messages: &[impl AsRef<[u8]>]) -> Result<Vec<Digest>, FieldError> {
    let digest = |(place, message): (usize, &_)| {
        let message: &[u8] = AsRef::<[u8]>::as_ref(message);
        parse_digest(message, &format!("messages[{place}]"))
    };
    messages.iter().enumerate().map(digest).collect()
}

fn digest_or_none(message: &[u8], field: &str) -> Result<Option<Digest>, FieldError> {
    if message.is_empty() { Ok(None) } else { parse_digest(message, field).map(Some) }
}

fn id(bytes: &[u8]) -> Result<[u8; 16], FieldError> {
    bytes.try_into().map_err(|_| FieldError::new("shred", "16 random bytes"))
}
