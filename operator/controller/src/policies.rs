//! RetentionPolicy: the whole set goes to the archive in one call, and each policy's status says what the archive answered.

use std::{sync::Arc, time::Duration};

use kube::{Api, Resource, ResourceExt};
use openarchive_operator_api::{
    ArchiveCore, ConditionStatus, ConditionType, RetentionPolicy, RetentionPolicyStatus, set_condition,
};

use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    core::{Acknowledged, Core, deliver_policies},
    status_writer::write_status,
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
        None => Err("the archive does not run yet".to_owned()),
        Some(core) => deliver_policies(core, archive, policies).await.map_err(|error| {
            tracing::warn!(archive = archive.name_any(), %error, "retention policies are not delivered");
            error.to_string()
        }),
    };
    for policy in policies {
        let verdict = match &answers {
            Err(reason) => Verdict::Waits(reason.clone()),
            Ok(answers) => {
                let name = policy.name_any();
                answers.iter().find(|answer| answer.name == name).map_or_else(
                    || Verdict::Waits("the archive did not speak of it".to_owned()),
                    |answer| Verdict::Answered(answer.clone()),
                )
            }
        };
        let new = status(policy, &verdict, context);
        write_status(context, policy, policy.status.as_ref(), &new).await?;
    }
    match answers {
        Err(message) if core.is_some() && !policies.is_empty() => {
            Err(Halt::waiting(Reason::CoreUnreachable, message, Duration::from_secs(15)))
        }
        _ => Ok(()),
    }
}

enum Verdict {
    Waits(String),
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
        (Verdict::Waits(why), _) => {
            (False, True, False, Reason::CoreUnreachable.name(), format!("waits for the archive: {why}"))
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
    let new = status(&policy, &Verdict::Answered(answer), &context);
    write_status(&context, &*policy, policy.status.as_ref(), &new).await?;
    Ok(RESYNC_AFTER)
}
