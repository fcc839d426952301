use std::collections::BTreeMap;

use openarchive_domain::{AgentName, Digest, Tenant};
use openarchive_proto::ingest::v1::ObservationKey;

use super::open;
use crate::{
    core::Core,
    failure::{Failure, FieldError},
    observation_rows::{self, SeatKey},
    offer::parse_seat,
    receipts::receipts,
};

/// A receipt of one observation of a message, made from leaf, salt and log as they are now.
pub(super) async fn prove(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
    observation: Option<ObservationKey>,
) -> Result<String, Failure> {
    let row = match observation {
        Some(key) => {
            let key = parse_key(&key)?;
            let mut rows = observation_rows::at_seats(&core.pool, tenant, std::slice::from_ref(&key)).await?;
            rows.remove(&key).filter(|row| row.message == *message)
        }
        None => observation_rows::of_message(&core.pool, tenant, message, 1).await?.pop(),
    };
    if open::find(core, tenant, message).await?.is_none() {
        return Err(open::not_here(core, tenant, message).await?);
    }
    let row =
        row.ok_or_else(|| Failure::not_found(format!("{tenant} has no such observation of {message}")))?;
    let mut proofs = receipts(core, tenant, &[row.key()], BTreeMap::new()).await?;
    let proof = proofs.remove(&row.key());
    proof.ok_or_else(|| Failure::Damaged(format!("the observation of {message} vanished while it was read")))
}

fn parse_key(key: &ObservationKey) -> Result<SeatKey, FieldError> {
    let agent: AgentName =
        key.agent.parse().map_err(|_| FieldError::new("observation.agent", "the name of an agent"))?;
    Ok((agent, parse_seat(&key.instance, key.agent_epoch, key.seq, "observation")?))
}
