//! The auditor's document. Pure.

use k8s_openapi::{api::networking::v1::NetworkPolicy, jiff::Timestamp};
use kube::ResourceExt;
use openarchive_operator_api::{
    ConditionStatus, ConditionType, Conditions, Enforcement, EnforcementStatus, NetworkPolicySet,
    NetworkPolicySetStatus, PolicyMode, PolicyStatus, set_condition,
};
use openarchive_operator_netpol::Fingerprint;

use super::ask::Answer;
use crate::{Halt, Reason, apply::Drift, told::in_words};

/// Most names in `uncoveredPods`.
const UNCOVERED_PODS_MAX: usize = 20;

/// How long after the last correction the condition `Drifted` stays true: the pass that the correction itself wakes finds
/// everything as built.
pub(super) const DRIFT_SHOWN_SECONDS: i64 = 60 * 60;

/// What a pass found out, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) graph_hash: Option<String>,
    pub(super) fingerprints: Vec<Fingerprint>,
    /// As they stand in the cluster; empty in mode Audit.
    pub(super) live: Vec<NetworkPolicy>,
    pub(super) written: Vec<String>,
    pub(super) drifts: Vec<Drift>,
    pub(super) uncovered_pods: Vec<String>,
    /// `None`: the pass did not come so far as to ask, and what the status says stays.
    pub(super) enforcement: Option<Answer>,
}

/// What is missing until the policies of `set` are as its present specification wants them.
pub(crate) fn waits_for(set: &NetworkPolicySet) -> Option<String> {
    let status = set.status.as_ref();
    let is_of_now = status.is_some_and(|status| status.observed_generation == set.metadata.generation);
    let ready = status.and_then(|status| status.conditions.of_type(ConditionType::Ready));
    match ready.filter(|_| is_of_now) {
        None => Some("network policies wait to be applied".to_owned()),
        Some(ready) if ready.status == ConditionStatus::True.name() => None,
        Some(ready) => Some(format!("network policies: {}", ready.message)),
    }
}

pub(super) fn status(
    old: &NetworkPolicySetStatus,
    generation: Option<i64>,
    mode: PolicyMode,
    observed: &Observed,
    halt: Option<&Halt>,
    now: Timestamp,
) -> NetworkPolicySetStatus {
    let mut status = old.clone();
    status.observed_generation = generation;
    if let Some(hash) = &observed.graph_hash {
        status.graph_hash = Some(hash.clone());
        status.policies =
            observed.fingerprints.iter().map(|print| policy(old, print, mode, observed, now)).collect();
        status.uncovered_pods = observed.uncovered_pods.iter().take(UNCOVERED_PODS_MAX).cloned().collect();
    }
    let never = EnforcementStatus { verdict: Enforcement::Unverified, probed_at: None };
    status.enforcement = Some(match (&observed.enforcement, status.enforcement) {
        (None, old) => old.unwrap_or(never),
        // The time moves with the verdict alone, or each pass would write it.
        (Some(answer), Some(old)) if old.verdict == answer.verdict && old.probed_at.is_some() => old,
        (Some(answer), _) => {
            EnforcementStatus { verdict: answer.verdict, probed_at: answer.probed_at.clone() }
        }
    });
    conditions(&mut status, generation, mode, observed, halt, now);
    status
}

fn policy(
    old: &NetworkPolicySetStatus,
    print: &Fingerprint,
    mode: PolicyMode,
    observed: &Observed,
    now: Timestamp,
) -> PolicyStatus {
    let before = old.policies.iter().find(|policy| policy.name == print.name);
    let live = observed
        .live
        .iter()
        .find(|live| live.name_any() == print.name)
        .filter(|_| mode == PolicyMode::Enforce);
    let drift = observed.drifts.iter().find(|drift| drift.name == print.name);
    let was_written = observed.written.contains(&print.name);
    let applied_at = match (live, was_written) {
        (None, _) => None,
        (Some(_), true) => Some(now.to_string()),
        (Some(_), false) => {
            before.and_then(|before| before.applied_at.clone()).or_else(|| Some(now.to_string()))
        }
    };
    PolicyStatus {
        name: print.name.clone(),
        uid: live.and_then(ResourceExt::uid),
        resource_version: live.and_then(ResourceExt::resource_version),
        sha256: print.sha256.clone(),
        rules: i32::try_from(print.rules).unwrap_or(i32::MAX),
        applied_at,
        drift_corrections: before.map_or(0, |before| before.drift_corrections) + i64::from(drift.is_some()),
        last_alien_manager: drift
            .map(|drift| drift.manager.clone())
            .or_else(|| before.and_then(|before| before.last_alien_manager.clone())),
    }
}

fn conditions(
    status: &mut NetworkPolicySetStatus,
    generation: Option<i64>,
    mode: PolicyMode,
    observed: &Observed,
    halt: Option<&Halt>,
    now: Timestamp,
) {
    use ConditionStatus::{False, True, Unknown};
    let before = corrected_lately(status, now);
    let mut set = |type_, state, reason: &str, message: &str| {
        set_condition(&mut status.conditions, type_, state, (reason, message), generation, now);
    };
    match halt {
        None => {
            let message = match mode {
                PolicyMode::Enforce => format!("{} policies are applied", observed.fingerprints.len()),
                PolicyMode::Audit => {
                    format!(
                        "{} policies would be applied; mode Audit writes nothing",
                        observed.fingerprints.len()
                    )
                }
            };
            set(ConditionType::Ready, True, Reason::Reconciled.name(), &message);
            set(ConditionType::Reconciling, False, Reason::Reconciled.name(), "");
            set(ConditionType::Stalled, False, Reason::Reconciled.name(), "");
        }
        Some(halt @ Halt::Terminal { .. }) => {
            let (reason, message) = (halt.reason().name(), halt.to_string());
            set(ConditionType::Ready, False, reason, &message);
            set(ConditionType::Reconciling, False, reason, "");
            set(ConditionType::Stalled, True, reason, &message);
        }
        Some(halt) => {
            let (reason, message) = (halt.reason().name(), halt.to_string());
            set(ConditionType::Ready, False, reason, &message);
            set(ConditionType::Reconciling, True, reason, &message);
            set(ConditionType::Stalled, False, reason, "");
        }
    }
    if observed.graph_hash.is_some() {
        let (state, reason, message) = match observed.drifts.first().map(in_words).or(before) {
            Some(message) => (True, Reason::DriftCorrected, message),
            None => (False, Reason::Reconciled, String::new()),
        };
        set(ConditionType::Drifted, state, reason.name(), &message);
    }
    if let Some(Answer { verdict, reason, .. }) = &observed.enforcement {
        let (state, name) = match verdict {
            Enforcement::Verified => (True, "Verified"),
            Enforcement::NotEnforced => (False, Reason::NotEnforced.name()),
            Enforcement::Unverified => (Unknown, "Unverified"),
        };
        let audit = match (verdict, mode) {
            (Enforcement::NotEnforced, PolicyMode::Audit) => "; mode Audit applies no policy",
            _ => "",
        };
        set(ConditionType::EnforcementVerified, state, name, &format!("{reason}{audit}"));
    }
}

/// What is said of the last correction, while it is shown. A policy that is written meanwhile because something else was specified
/// prolongs that.
fn corrected_lately(status: &NetworkPolicySetStatus, now: Timestamp) -> Option<String> {
    let drifted = status.conditions.of_type(ConditionType::Drifted)?;
    let corrected = status.policies.iter().filter(|policy| policy.last_alien_manager.is_some());
    let written = corrected.filter_map(|policy| policy.applied_at.as_ref()?.parse::<Timestamp>().ok());
    let is_shown = now.as_second() < written.max()?.as_second() + DRIFT_SHOWN_SECONDS;
    (is_shown && drifted.status == ConditionStatus::True.name()).then(|| drifted.message.clone())
}
