//! EdgeAgent: this version of the operator does not run agents, and says so in each one's status.

use std::{sync::Arc, time::Duration};

use kube::Resource;
use openarchive_operator_api::{ConditionStatus, ConditionType, EdgeAgent, set_condition};

use crate::{Context, Halt, RESYNC_AFTER, Reason, status_writer::write_status};

const NOT_YET: &str = "this version of the operator does not run or enrol agents: its network policies count it, and nothing else happens; run \
     openarchive-edge beside the mail server and enrol it with archivectl agents enrol (docs/agent.md)";

pub(crate) async fn reconcile(agent: Arc<EdgeAgent>, context: Arc<Context>) -> Result<Duration, Halt> {
    if agent.meta().deletion_timestamp.is_some() {
        return Ok(RESYNC_AFTER);
    }
    let mut status = agent.status.clone().unwrap_or_default();
    let (generation, now) = (agent.metadata.generation, context.now());
    status.observed_generation = generation;
    for (type_, state) in [
        (ConditionType::Ready, ConditionStatus::False),
        (ConditionType::Reconciling, ConditionStatus::False),
        (ConditionType::Stalled, ConditionStatus::True),
    ] {
        set_condition(
            &mut status.conditions,
            type_,
            state,
            (Reason::NotAvailable.name(), NOT_YET),
            generation,
            now,
        );
    }
    write_status(&context, &*agent, agent.status.as_ref(), &status).await?;
    Ok(RESYNC_AFTER)
}
