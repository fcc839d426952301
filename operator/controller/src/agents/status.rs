//! The status of an EdgeAgent. Pure.

use k8s_openapi::jiff::Timestamp;
use openarchive_operator_api::{
    CertificateStatus, ConditionStatus, ConditionType, EdgeAgentStatus, InstanceStatus, set_condition,
};

use crate::{Halt, Reason, told::drifted};

/// What a pass found out, as far as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    /// With which the agent showed itself last. `None`: not known, and what the status says stays.
    pub(super) certificate: Option<CertificateStatus>,
    /// Empty: not known, and what the status says stays.
    pub(super) instances: Vec<InstanceStatus>,
    /// In words: objects that are not as built and stay so. `None`: the pass did not come so far.
    pub(super) left: Option<Vec<String>>,
    /// In words: how it is when nothing is left to do.
    pub(super) ready: String,
}

pub(super) fn status(
    old: &EdgeAgentStatus,
    generation: Option<i64>,
    observed: &Observed,
    halt: Option<&Halt>,
    now: Timestamp,
) -> EdgeAgentStatus {
    use ConditionStatus::{False, True};
    let mut status = old.clone();
    status.observed_generation = generation;
    status.certificate = observed.certificate.clone().or(status.certificate);
    if !observed.instances.is_empty() {
        status.instances.clone_from(&observed.instances);
    }
    status.waiting_for = match halt {
        Some(Halt::Waiting { message, .. }) => Some(message.clone()),
        _ => None,
    };
    let message = halt.map_or_else(|| observed.ready.clone(), ToString::to_string);
    let reason = halt.map_or(Reason::Reconciled, Halt::reason).name();
    let (ready, reconciling, stalled) = match halt {
        None => (True, False, False),
        Some(Halt::Terminal { .. }) => (False, False, True),
        Some(_) => (False, True, False),
    };
    for (type_, state) in [
        (ConditionType::Ready, ready),
        (ConditionType::Reconciling, reconciling),
        (ConditionType::Stalled, stalled),
    ] {
        let message = if state == True || type_ == ConditionType::Ready { &*message } else { "" };
        set_condition(&mut status.conditions, type_, state, (reason, message), generation, now);
    }
    if let Some(left) = &observed.left {
        let (state, reason, message) = drifted(left);
        let type_ = ConditionType::Drifted;
        set_condition(&mut status.conditions, type_, state, (reason, &message), generation, now);
    }
    status
}
