//! The status of an EdgeAgent. Pure.

use k8s_openapi::jiff::Timestamp;
use openarchive_operator_api::{
    CertificateStatus, ConditionStatus, ConditionType, EdgeAgentStatus, set_condition,
};

use crate::{Halt, Reason};

/// What a pass found out, as far as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    /// With which the agent showed itself last. `None`: not known, and what the status says stays.
    pub(super) certificate: Option<CertificateStatus>,
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
    status
}
