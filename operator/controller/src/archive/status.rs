//! The status of an ArchiveCore: computed from the specification, what was observed, how the pass ended, the status before and
//! the time. Pure.

use k8s_openapi::jiff::Timestamp;
use openarchive_operator_api::{
    ArchiveCoreStatus, CertificateStatus, ConditionStatus, ConditionType, ServiceStatus, SnapshotStatus,
    TrustMode, set_condition,
};

use super::gate::Progress;
use crate::{Halt, Reason, told::drifted};

/// What a pass found out, as far as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// `None`: the pass did not come so far, and what the status says stays.
    pub services: Option<Vec<Progress>>,
    pub certificates: Option<Vec<CertificateStatus>>,
    /// An exchange of the certificate authority waits for this.
    pub exchange_waits_for: Option<String>,
    pub audit: Option<Audit>,
    /// What is missing of the archive's own network policies.
    pub network_waits_for: Option<String>,
    /// In words: objects that are not as built and stay so. `None`: the pass did not come so far.
    pub left: Option<Vec<String>>,
    pub stopped: bool,
    /// The retention policies were delivered, or told why they were not.
    pub policies_told: bool,
    /// This version of the archive cannot run what was applied.
    pub engine_missing: Option<String>,
}

/// How the record of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audit {
    pub last: Option<SnapshotStatus>,
    /// Snapshots that are kept and not recorded yet.
    pub pending: usize,
    /// Why, in words.
    pub waiting_for: Option<String>,
}

/// The status after a pass over generation `generation`.
pub(crate) fn status(
    old: &ArchiveCoreStatus,
    generation: Option<i64>,
    observed: &Observed,
    halt: Option<&Halt>,
    now: Timestamp,
) -> ArchiveCoreStatus {
    let mut status = old.clone();
    status.observed_generation = generation;
    status.trust_mode = Some(TrustMode::NonQualified);
    if let Some(services) = &observed.services {
        status.services = services.iter().map(service).collect();
        status.version = running_version(services).or(status.version);
    }
    if let Some(certificates) = &observed.certificates {
        status.certificates.clone_from(certificates);
    }
    if let Some(last) = observed.audit.as_ref().and_then(|audit| audit.last.clone()) {
        status.last_snapshot = Some(last);
    }
    let mut set = |type_, (state, reason, message): (ConditionStatus, &str, &str)| {
        set_condition(&mut status.conditions, type_, state, (reason, message), generation, now);
    };
    let (ready, reconciling, stalled) = progress(observed, halt);
    set(ConditionType::Ready, as_refs(&ready));
    set(ConditionType::Reconciling, as_refs(&reconciling));
    set(ConditionType::Stalled, as_refs(&stalled));
    if observed.services.is_some() {
        set(ConditionType::Available, as_refs(&available(observed)));
    }
    if observed.certificates.is_some() {
        set(ConditionType::CertificatesValid, as_refs(&certificates(observed)));
    }
    if let Some(halt) = halt.filter(|halt| halt.reason() == Reason::CertificateAuthority) {
        set(
            ConditionType::CertificatesValid,
            (ConditionStatus::False, halt.reason().name(), &halt.to_string()),
        );
    }
    if let Some(left) = &observed.left {
        set(ConditionType::Drifted, as_refs(&drifted(left)));
    }
    if let Some(audit) = &observed.audit {
        set(ConditionType::AuditRecorded, as_refs(&recorded(audit)));
    }
    status
}

/// The status on entering a pause: nothing else changes, the observed generation neither.
pub(crate) fn paused(old: &ArchiveCoreStatus, now: Timestamp) -> ArchiveCoreStatus {
    let mut status = old.clone();
    let generation = old.observed_generation;
    let message = "spec.operation.paused is true: nothing is changed until it is false";
    let mut set = |type_, state| {
        set_condition(
            &mut status.conditions,
            type_,
            state,
            (Reason::Paused.name(), message),
            generation,
            now,
        );
    };
    set(ConditionType::Ready, ConditionStatus::Unknown);
    set(ConditionType::Reconciling, ConditionStatus::False);
    set(ConditionType::Stalled, ConditionStatus::False);
    status
}

/// The status of an archive that goes as soon as its ledger knows: nothing else changes.
pub(crate) fn leaving(
    old: &ArchiveCoreStatus,
    generation: Option<i64>,
    audit: &Audit,
    now: Timestamp,
) -> ArchiveCoreStatus {
    let mut status = old.clone();
    let (state, reason, message) = recorded(audit);
    let type_ = ConditionType::AuditRecorded;
    set_condition(&mut status.conditions, type_, state, (reason, &message), generation, now);
    status
}

type Verdict = (ConditionStatus, &'static str, String);

fn as_refs(verdict: &Verdict) -> (ConditionStatus, &str, &str) {
    (verdict.0, verdict.1, &verdict.2)
}

/// Ready, Reconciling, Stalled, as kstatus reads them: at most one of the last two is true, and Ready is neither with them.
fn progress(observed: &Observed, halt: Option<&Halt>) -> (Verdict, Verdict, Verdict) {
    use ConditionStatus::{False, True};
    let not_stalled = || (False, Reason::Progressing.name(), String::new());
    let terminal = match halt {
        Some(Halt::Terminal { reason, message }) => Some((*reason, message.clone())),
        _ => observed.engine_missing.clone().map(|message| (Reason::EngineNotAvailable, message)),
    };
    if let Some((reason, message)) = terminal {
        let stalled = (True, reason.name(), message.clone());
        return ((False, reason.name(), message), (False, reason.name(), String::new()), stalled);
    }
    let waits = match halt {
        Some(halt) => Some((halt.reason(), halt.to_string())),
        None => rollout(observed).map(|message| (Reason::RolloutPending, message)),
    };
    if let Some((reason, message)) = waits {
        let reconciling = (True, reason.name(), message.clone());
        return ((False, reason.name(), message), reconciling, not_stalled());
    }
    let reason = if observed.stopped { Reason::Stopped } else { Reason::Reconciled };
    let message = if observed.stopped { "stopped, as specified" } else { "everything runs as specified" };
    (
        (True, reason.name(), message.to_owned()),
        (False, reason.name(), String::new()),
        (False, reason.name(), String::new()),
    )
}

fn rollout(observed: &Observed) -> Option<String> {
    let waiting = observed.services.iter().flatten().filter_map(|service| {
        Some(format!("{} waits for {}", service.component, service.waiting_for.as_ref()?))
    });
    let waiting: Vec<_> = waiting.chain(observed.network_waits_for.clone()).collect();
    (!waiting.is_empty()).then(|| waiting.join("; "))
}

fn available(observed: &Observed) -> Verdict {
    use ConditionStatus::{False, True};
    let services = observed.services.as_deref().unwrap_or_default();
    if observed.stopped {
        return (False, Reason::Stopped.name(), "stopped, as specified".to_owned());
    }
    let down: Vec<_> =
        services.iter().filter(|service| service.ready == 0).map(|service| &*service.component).collect();
    if down.is_empty() && !services.is_empty() {
        (True, Reason::Reconciled.name(), "every service has a pod that is ready".to_owned())
    } else {
        (False, Reason::RolloutPending.name(), format!("no pod is ready: {}", down.join(", ")))
    }
}

fn certificates(observed: &Observed) -> Verdict {
    let message = observed.exchange_waits_for.as_ref().map_or_else(
        || "every certificate is valid".to_owned(),
        |what| format!("every certificate is valid; the exchange of the authority waits for {what}"),
    );
    (ConditionStatus::True, Reason::Reconciled.name(), message)
}

fn recorded(audit: &Audit) -> Verdict {
    use ConditionStatus::{False, True};
    match (audit.pending, &audit.last) {
        (0, Some(last)) => {
            (True, Reason::Reconciled.name(), format!("leaf {} of the config log", last.ledger_index))
        }
        (0, None) => (False, Reason::Progressing.name(), "nothing was applied yet".to_owned()),
        (pending, _) => {
            let what = audit.waiting_for.as_deref().unwrap_or("the trust service");
            (
                False,
                Reason::CoreUnreachable.name(),
                format!("{pending} kept and not recorded yet; waits for {what}"),
            )
        }
    }
}

fn service(progress: &Progress) -> ServiceStatus {
    ServiceStatus {
        name: progress.component.clone(),
        desired: progress.desired,
        ready: progress.ready,
        version: progress.version.clone(),
        waiting_for: progress.waiting_for.clone(),
    }
}

/// The version that every service runs, once they agree and none is on its way.
fn running_version(services: &[Progress]) -> Option<String> {
    let first = services.first()?.version.clone()?;
    let agreed = services
        .iter()
        .all(|service| service.waiting_for.is_none() && service.version.as_deref() == Some(&first));
    agreed.then_some(first)
}
