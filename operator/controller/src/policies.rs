//! RetentionPolicy: the whole set goes to the archive in one call, and each policy's status says what the archive answered.

use std::{sync::Arc, time::Duration};

use kube::{Api, Resource, ResourceExt};
use openarchive_operator_api::{
    ArchiveCore, ConditionStatus, ConditionType, Conditions as _, RetentionPolicy, RetentionPolicyStatus,
    set_condition,
};

use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    core::{Acknowledged, Core, deliver_policies},
    guard::list_referring,
    status_writer::write_status,
    told::tell_ready,
};

/// Delivers `policies` if the archive runs, and writes what it answered. A call that fails is told in each status and tried
/// again with the archive's next pass.
pub(crate) async fn deliver(
    context: &Context,
    archive: &ArchiveCore,
    policies: &[RetentionPolicy],
    core: Option<&Core>,
) -> Result<(), Halt> {
    let answers = match core {
        None => Err((Reason::RolloutPending, "it does not run yet".to_owned())),
        Some(core) => deliver_policies(core, archive, policies).await.map_err(|error| {
            tracing::warn!(archive = archive.name_any(), %error, "retention policies are not delivered");
            (Reason::CoreUnreachable, error.to_string())
        }),
    };
    // One that was answered keeps its answer while the archive is away: nothing was taken back.
    for policy in policies.iter().filter(|policy| core.is_some() || !is_answered(policy)) {
        let verdict = match &answers {
            Err((reason, why)) => Verdict::Waits(*reason, why.clone()),
            Ok(answers) => {
                let name = policy.name_any();
                answers.iter().find(|answer| answer.name == name).map_or_else(
                    || Verdict::Waits(Reason::CoreUnreachable, "it did not speak of the policy".to_owned()),
                    |answer| Verdict::Answered(answer.clone()),
                )
            }
        };
        conclude(context, policy, &verdict).await?;
    }
    match answers {
        Err((_, message)) if core.is_some() && !policies.is_empty() => {
            Err(Halt::waiting(Reason::CoreUnreachable, message, Duration::from_secs(15)))
        }
        _ => Ok(()),
    }
}

/// For an archive whose pass does not come so far as to deliver. A policy that the archive has answered as it is now keeps that
/// answer: nothing was taken back.
pub(crate) async fn wait(
    context: &Context,
    archive: &ArchiveCore,
    reason: Reason,
    why: &str,
) -> Result<(), Halt> {
    let (namespace, name) = (archive.namespace().unwrap_or_default(), archive.name_any());
    let policies: Vec<RetentionPolicy> = list_referring(&context.client, &namespace, &name).await?;
    for policy in policies.iter().filter(|policy| !is_answered(policy)) {
        conclude(context, policy, &Verdict::Waits(reason, format!("{name} {why}"))).await?;
    }
    Ok(())
}

fn is_answered(policy: &RetentionPolicy) -> bool {
    policy.status.as_ref().is_some_and(|status| {
        let ready = status.conditions.of_type(ConditionType::Ready);
        status.observed_generation == policy.metadata.generation
            && !status.conditions.is_true(ConditionType::Reconciling)
            && ready.is_some_and(|ready| {
                ![Reason::ReferenceNotFound.name(), Reason::Unreadable.name()].contains(&&*ready.reason)
            })
    })
}

/// Writes the status, and tells of it.
async fn conclude(context: &Context, policy: &RetentionPolicy, verdict: &Verdict) -> Result<(), Halt> {
    let new = status(policy, verdict, context);
    if write_status(context, policy, policy.status.as_ref(), &new).await? {
        let old = policy.status.clone().unwrap_or_default();
        tell_ready(context, policy, &old.conditions, &new.conditions).await;
    }
    Ok(())
}

enum Verdict {
    /// For the archive: why, in words.
    Waits(Reason, String),
    Answered(Acknowledged),
}

fn status(policy: &RetentionPolicy, verdict: &Verdict, context: &Context) -> RetentionPolicyStatus {
    use ConditionStatus::{False, True};
    let generation = policy.metadata.generation;
    let mut status = policy.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    let mut refused = None;
    if let Verdict::Answered(answer) = verdict {
        status.acknowledged_generation = answer.standing.as_ref().map(|(generation, _)| *generation);
        status.class_name = answer.standing.as_ref().map(|(_, class)| class.clone());
        refused.clone_from(&answer.refused);
    }
    let (ready, reconciling, stalled, reason, message) = match (verdict, &refused) {
        (Verdict::Waits(reason, why), _) => {
            (False, True, False, reason.name(), format!("waits for the archive: {why}"))
        }
        (_, Some((reason, message))) => (False, False, True, reason_name(reason), message.clone()),
        (_, None) => (
            True,
            False,
            False,
            Reason::Reconciled.name(),
            "in force for mail that arrives from now on".to_owned(),
        ),
    };
    let now = context.now();
    for (type_, state) in [
        (ConditionType::Ready, ready),
        (ConditionType::Reconciling, reconciling),
        (ConditionType::Stalled, stalled),
    ] {
        set_condition(&mut status.conditions, type_, state, (reason, &message), generation, now);
    }
    status
}

fn reason_name(reason: &str) -> &'static str {
    let known = [Reason::LockedInCore, Reason::ReferenceNotFound];
    known.into_iter().find(|known| known.name() == reason).unwrap_or(Reason::InvalidSpec).name()
}

/// A policy whose archive is not there is nobody's: its status says so. Those of an archive are told by the archive's pass.
pub(crate) async fn reconcile(policy: Arc<RetentionPolicy>, context: Arc<Context>) -> Result<Duration, Halt> {
    if policy.meta().deletion_timestamp.is_some() {
        return Ok(RESYNC_AFTER);
    }
    let namespace = policy.namespace().unwrap_or_default();
    let name = &policy.spec.archive_ref.name;
    let api: Api<ArchiveCore> = Api::namespaced(context.client.clone(), &namespace);
    let archive = api.get_metadata_opt(name).await;
    if archive.map_err(|error| Halt::kubernetes(format!("get ArchiveCore {name}"), error))?.is_some() {
        return Ok(RESYNC_AFTER);
    }
    let message =
        format!("there is no ArchiveCore {name} in namespace {namespace}: make it, or correct archiveRef");
    let answer = Acknowledged {
        name: policy.name_any(),
        standing: None,
        refused: Some((Reason::ReferenceNotFound.name().to_owned(), message)),
    };
    conclude(&context, &policy, &Verdict::Answered(answer)).await?;
    Ok(RESYNC_AFTER)
}
