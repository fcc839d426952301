//! Events. How an object stands, each time that changes. Which pods start anew, and why. What others did to objects: in each case
//! an event about the object and a line in the log, and a count of what was undone; what stays is told when it is new.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::ResourceExt;
use openarchive_operator_api::ConditionStatus;
use openarchive_operator_api::{ConditionType, Conditions as _};
use openarchive_telemetry::metrics;

use crate::{
    Context, Reason,
    apply::{Drift, End, Restart},
    objects::Kind,
};

/// An event for each change of status or reason of the condition `Ready`; its reason is the condition's.
pub(crate) async fn tell_ready<O: Kind>(context: &Context, object: &O, old: &[Condition], new: &[Condition]) {
    let Some(ready) = new.of_type(ConditionType::Ready) else { return };
    let was = old.of_type(ConditionType::Ready);
    if was.is_some_and(|was| was.status == ready.status && was.reason == ready.reason) {
        return;
    }
    let Some(reason) = Reason::of_name(&ready.reason) else { return };
    context.tell(object, reason, "Reconcile", ready.message.clone()).await;
}

/// The leaf of such a restart is the snapshot of the configuration that this pass applied: the changed pod template stands in it.
pub(crate) async fn tell_restarts<O: Kind>(context: &Context, owner: &O, restarts: &[Restart]) {
    for Restart { kind, name, reason } in restarts {
        let why = match reason {
            Reason::VersionChanged => "another version is to run",
            Reason::AuthorityExchanged => "the authority with which they sign was exchanged",
            _ => "they are configured otherwise",
        };
        let note = format!("{kind} {name} starts its pods anew: {why}");
        context.tell_about(owner, Some(about(owner, kind, name)), *reason, "Restart", note).await;
    }
}

fn about<O: Kind>(owner: &O, kind: &str, name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        namespace: owner.namespace(),
        ..ObjectReference::default()
    }
}

/// The events are those of `owner`.
pub(crate) async fn tell_drifts<O: Kind>(context: &Context, owner: &O, drifts: &[Drift]) {
    for drift in drifts {
        let Drift { kind, name, manager, end } = drift;
        let (reason, action) = match end {
            End::Corrected => (Reason::DriftCorrected, "Correct"),
            End::Remade => (Reason::DriftCorrected, "Remake"),
            End::Remains { is_new: true, .. } => (Reason::DriftRemains, "Leave"),
            End::Remains { is_new: false, .. } => continue,
        };
        if reason == Reason::DriftCorrected {
            metrics::OPERATOR_DRIFTS.inc([*kind]);
        }
        let note = in_words(drift);
        context.tell_about(owner, Some(about(owner, kind, name)), reason, action, note.clone()).await;
        let owner_kind = O::kind(&());
        tracing::warn!(kind = %owner_kind, object = owner.name_any(), manager, note, "somebody else changed what was applied");
    }
}

/// What is not as built and stays so, as a condition says it.
pub(crate) fn remaining(drifts: &[Drift]) -> Vec<String> {
    let in_words = |drift: &Drift| match &drift.end {
        End::Remains { fields, .. } => {
            Some(format!("{} {} at {fields}, by {}", drift.kind, drift.name, drift.manager))
        }
        End::Corrected | End::Remade => None,
    };
    drifts.iter().filter_map(in_words).collect()
}

/// The condition `Drifted`; `left` is what [`remaining`] answered.
pub(crate) fn drifted(left: &[String]) -> (ConditionStatus, &'static str, String) {
    if left.is_empty() {
        return (ConditionStatus::False, Reason::Reconciled.name(), String::new());
    }
    let message = format!(
        "not as built, and it stays so after it was written again: {}; see whether an admission webhook changes it",
        left.join("; ")
    );
    (ConditionStatus::True, Reason::DriftRemains.name(), message)
}

pub(crate) fn in_words(Drift { kind, name, manager, end }: &Drift) -> String {
    match end {
        End::Corrected => format!("{kind} {name} was changed by {manager} and is as built again"),
        End::Remade => format!("{kind} {name} was deleted by {manager} and is made anew"),
        End::Remains { fields, .. } => format!(
            "{kind} {name} was changed by {manager} at {fields} and stays so after it was written again: see whether an admission \
             webhook does that"
        ),
    }
}
