use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Resource, ResourceExt};
use openarchive_domain::Timestamp;
use openarchive_operator_api::{ArchiveCore, ArchiveCoreStatus};
use openarchive_telemetry::metrics;
use openarchive_topology::{GRPC_PORT, Role};

use super::{
    ValidArchive,
    audit::audit,
    build::{Ground, Volume, address, build},
    certificates::{Certificates, certificates},
    dereference::{World, dereference},
    gate::{self, Held, Progress, gate},
    status::{self, Observed},
    validate::{Shape, validate},
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    apply::{Applied, Drift, apply},
    core::Core,
    drift::same_quantity,
    objects::Objects,
    policies,
    prune::prune,
    status_writer::write_status,
};

/// Soonest that a pass is repeated because a date comes.
const LOOK_AGAIN_AFTER_MIN: Duration = Duration::from_secs(10);
/// Profile Distributed is built and applied; the archive's programs do not speak to its engines yet.
const ENGINE_MISSING: &str = "this version of the archive does not run over S3 and Elasticsearch yet: everything is applied and no mail can be \
     taken; use profile Standalone";

/// One pass. The status is written at its end, also when it fails; answers when to look again.
pub(crate) async fn reconcile(archive: Arc<ArchiveCore>, context: Arc<Context>) -> Result<Duration, Halt> {
    let old = archive.status.clone().unwrap_or_default();
    if archive.spec.operation.paused {
        let paused = status::paused(&old, context.now());
        write_status(&context, &*archive, archive.status.as_ref(), &paused).await?;
        return Ok(RESYNC_AFTER);
    }
    if archive.meta().deletion_timestamp.is_some() {
        // Owned objects go by themselves; volumes, keys and certificates have no owner and stay.
        return Ok(RESYNC_AFTER);
    }
    let mut observed = Observed::default();
    let outcome = pass(&context, &archive, &mut observed).await;
    let halt = outcome.as_ref().err();
    let mut new = status::status(&old, archive.metadata.generation, &observed, halt, context.now());
    if halt.is_some_and(|halt| matches!(halt, Halt::Transient { .. })) && old.observed_generation.is_some() {
        // What was said of an earlier generation stays said of it until a pass over the new one comes through.
        new.observed_generation =
            old.observed_generation.filter(|_| observed.services.is_none()).or(new.observed_generation);
    }
    let written = write_status(&context, &*archive, archive.status.as_ref(), &new).await?;
    if written {
        tell(&context, &archive, &old, &new).await;
    }
    outcome
}

async fn pass(context: &Context, archive: &ArchiveCore, observed: &mut Observed) -> Result<Duration, Halt> {
    let world = dereference(context, archive).await?;
    let valid = validate(archive, &world.network_policy_sets)?;
    observed.stopped = valid.stopped;
    let made = certificates(context, &valid, &world.live.secrets, &world.running).await?;
    observed.certificates = Some(made.reports.clone());
    let first_end = made.reports.iter().filter_map(|report| report.not_after.parse::<Timestamp>().ok()).min();
    if let Some(end) = first_end {
        let seconds = (end.as_millis() - context.clock.now().as_millis()) / 1_000;
        metrics::OPERATOR_CERTIFICATE_EXPIRY
            .set([&format!("{}/{}", valid.namespace, valid.name)], seconds as f64);
    }
    observed.exchange_waits_for.clone_from(&made.waiting);
    let built = build(&valid, &ground(context, &valid, &world, &made));
    let (live, held) = bring(context, archive, &valid, &built, &world).await?;
    let services = services(&built, &live, &held);
    let is_up = services.iter().all(|service| service.ready > 0) && !services.is_empty();
    observed.services = Some(services);
    if let Some(failed) = live.jobs.iter().find(|job| gate::has_failed(job)) {
        let message =
            format!("Job {} failed: read its log, mend the cause, delete the Job", failed.name_any());
        return Err(Halt::terminal(Reason::MigrationFailed, message));
    }
    if matches!(valid.shape, Shape::Distributed(_)) {
        observed.engine_missing = Some(ENGINE_MISSING.to_owned());
    }
    let core = if is_up { Some(core(context, &valid, &made)?) } else { None };
    let mut waits = !is_up;
    if held.is_empty() {
        let audit = audit(context, archive, &valid, &built, &world.live.secrets, core.as_ref()).await?;
        let archive = format!("{}/{}", valid.namespace, valid.name);
        metrics::OPERATOR_SNAPSHOTS_PENDING.set([&archive], audit.pending as f64);
        waits |= audit.pending > 0;
        observed.audit = Some(audit);
    }
    policies::deliver(context, archive, &world.policies, core.as_ref()).await?;
    if waits && !valid.stopped {
        return Ok(LOOK_AGAIN_AFTER_MIN);
    }
    let until = made.look_again_at.as_millis() - context.clock.now().as_millis();
    let until = Duration::from_millis(u64::try_from(until).unwrap_or(0)).max(LOOK_AGAIN_AFTER_MIN);
    Ok(until.min(RESYNC_AFTER))
}

fn ground(context: &Context, valid: &ValidArchive, world: &World, made: &Certificates) -> Ground {
    let name = super::build::Names(valid).of(super::build::ALL);
    let set = world.live.stateful_sets.iter().find(|set| set.name_any() == name);
    Ground {
        image_registry: context.settings.image_registry.clone(),
        agents_ca: made.agents_ca_fingerprint.clone(),
        secrets: made.secrets.clone(),
        volume: set.and_then(volume).map(|found| match &valid.shape {
            // The API server writes quantities its own way; the same size in other words is no change.
            Shape::Standalone(spec) if same_quantity(&spec.size, &found.size) => {
                Volume { size: spec.size.clone(), ..found }
            }
            _ => found,
        }),
    }
}

/// The claim of a StatefulSet cannot be changed: what is there is kept.
fn volume(set: &StatefulSet) -> Option<Volume> {
    let claim = set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
    let size = claim.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone();
    Some(Volume { size, storage_class: claim.storage_class_name.clone() })
}

/// Applies what may be applied now, removes what is built no longer. Answers the objects as they stand.
async fn bring(
    context: &Context,
    archive: &ArchiveCore,
    valid: &ValidArchive,
    built: &Objects,
    world: &World,
) -> Result<(Objects, Held), Halt> {
    let (open, held) = gate(built, &world.live);
    let open: Vec<Deployment> = open.into_iter().cloned().collect();
    let Objects {
        service_accounts,
        config_maps,
        secrets,
        services,
        network_policy_sets,
        jobs,
        stateful_sets,
        deployments: _, // `open` of them
        disruption_budgets,
    } = built;
    let live = &world.live;
    let (namespace, name) = (&*valid.namespace, &*valid.name);
    let mut drifts = Vec::new();
    let mut now = Objects {
        service_accounts: take(
            &mut drifts,
            apply(context, namespace, name, service_accounts, &live.service_accounts).await?,
        ),
        config_maps: take(
            &mut drifts,
            apply(context, namespace, name, config_maps, &live.config_maps).await?,
        ),
        secrets: take(&mut drifts, apply(context, namespace, name, secrets, &live.secrets).await?),
        services: take(&mut drifts, apply(context, namespace, name, services, &live.services).await?),
        network_policy_sets: take(
            &mut drifts,
            apply(context, namespace, name, network_policy_sets, &live.network_policy_sets).await?,
        ),
        jobs: take(&mut drifts, apply(context, namespace, name, jobs, &live.jobs).await?),
        stateful_sets: take(
            &mut drifts,
            apply(context, namespace, name, stateful_sets, &live.stateful_sets).await?,
        ),
        deployments: take(&mut drifts, apply(context, namespace, name, &open, &live.deployments).await?),
        disruption_budgets: take(
            &mut drifts,
            apply(context, namespace, name, disruption_budgets, &live.disruption_budgets).await?,
        ),
    };
    let held_back = live
        .deployments
        .iter()
        .filter(|live| now.deployments.iter().all(|one| one.name_any() != live.name_any()));
    let held_back: Vec<_> = held_back.cloned().collect();
    now.deployments.extend(held_back);
    for Drift { kind, name, manager } in drifts {
        metrics::OPERATOR_DRIFTS.inc([kind]);
        let note = format!("{kind} {name} was changed by {manager} and is as built again");
        context.tell(archive, Reason::DriftCorrected, "Correct", note).await;
        tracing::warn!(
            archive = valid.name,
            kind,
            object = name,
            manager,
            "somebody else's change is undone"
        );
    }
    for name in prune(context, namespace, built, live).await? {
        context
            .tell(archive, Reason::Reconciled, "Remove", format!("{name} is built no longer and was removed"))
            .await;
    }
    Ok((now, held))
}

fn take<K>(drifts: &mut Vec<Drift>, applied: Applied<K>) -> Vec<K> {
    drifts.extend(applied.drifts);
    applied.objects
}

fn services(built: &Objects, live: &Objects, held: &Held) -> Vec<Progress> {
    let mut services: Vec<_> = live.stateful_sets.iter().map(gate::stateful_set_progress).collect();
    for deployment in &built.deployments {
        let name = deployment.name_any();
        let live = live.deployments.iter().find(|live| live.name_any() == name);
        let mut progress = gate::deployment_progress(live.unwrap_or(deployment));
        if live.is_none() {
            progress.version = None;
        }
        if let Some((_, waits)) = held.iter().find(|(component, _)| *component == progress.component) {
            progress.waiting_for = Some(waits.clone());
        }
        services.push(progress);
    }
    services
}

fn core(context: &Context, valid: &ValidArchive, made: &Certificates) -> Result<Core, Halt> {
    let at = |role| {
        let (host, port) = address(valid, role, GRPC_PORT);
        format!("{host}:{port}")
    };
    let addresses = [at(Role::Trust), at(Role::Storage), at(Role::Ingest)];
    let archive = format!("{}/{}", valid.namespace, valid.name);
    context.dialler.core(&archive, &made.operator, addresses).map_err(|source| Halt::Transient {
        reason: Reason::CoreUnreachable,
        what: "the archive cannot be called".to_owned(),
        source,
    })
}

/// An event for each change of Ready's reason.
async fn tell(context: &Context, archive: &ArchiveCore, old: &ArchiveCoreStatus, new: &ArchiveCoreStatus) {
    let ready = |status: &ArchiveCoreStatus| {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
        Some((ready.status.clone(), ready.reason.clone()))
    };
    let Some(condition) = new.conditions.iter().find(|condition| condition.type_ == "Ready") else { return };
    if ready(old) == ready(new) {
        return;
    }
    let reason = if condition.status == "True" { Reason::Reconciled } else { Reason::Progressing };
    context.tell(archive, reason, "Reconcile", format!("{}: {}", condition.reason, condition.message)).await;
}
