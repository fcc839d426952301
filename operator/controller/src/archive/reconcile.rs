use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ObjectReference};
use kube::{Resource, ResourceExt};
use openarchive_domain::Timestamp;
use openarchive_operator_api::{ArchiveCore, ArchiveCoreStatus, LABEL_COMPONENT};
use openarchive_telemetry::metrics;

use super::{
    ValidArchive,
    audit::{Desk, History, Standing, audit, referring},
    build::{Ground, Volume, build, volume},
    certificates::{Certificates, certificates},
    dereference::{World, dereference},
    dial::dial,
    farewell::farewell,
    gate::{self, Held, Progress, gate},
    status::{self, Observed},
    validate::{Shape, validate},
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    apply::{Applied, Drift, apply, kind_of},
    drift::same_quantity,
    finalizer, network_policies,
    objects::{Kind, Objects, UNKNOWN_MANAGER, named},
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
    if archive.meta().deletion_timestamp.is_some() {
        return farewell(&context, &archive).await;
    }
    let old = archive.status.clone().unwrap_or_default();
    if archive.spec.operation.paused {
        let paused = status::paused(&old, context.now());
        write_status(&context, &*archive, archive.status.as_ref(), &paused).await?;
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

/// The metrics of an archive that is gone: `key` is NAMESPACE/NAME.
pub(crate) fn forget(key: &str) {
    metrics::OPERATOR_CERTIFICATE_END.remove([key]);
    metrics::OPERATOR_SNAPSHOTS_PENDING.remove([key]);
    metrics::OPERATOR_NOT_ENFORCED.remove([key]);
}

async fn pass(context: &Context, archive: &ArchiveCore, observed: &mut Observed) -> Result<Duration, Halt> {
    let world = dereference(context, archive).await?;
    let sets: Vec<_> = world.network_policy_sets.iter().map(ResourceExt::name_any).collect();
    let valid = validate(archive, &sets)?;
    let history = History::read(context, archive).await?;
    observed.stopped = valid.stopped;
    let made = certificates(context, &valid, &world.live.secrets, &world.running).await?;
    observed.certificates = Some(made.reports.clone());
    let key = format!("{}/{}", valid.namespace, valid.name);
    let first_end = made.reports.iter().filter_map(|report| report.not_after.parse::<Timestamp>().ok()).min();
    if let Some(end) = first_end {
        metrics::OPERATOR_CERTIFICATE_END.set([&key], (end.as_millis() / 1_000) as f64);
    }
    observed.exchange_waits_for.clone_from(&made.waiting);
    let built = build(&valid, &ground(context, &valid, &world, &made));
    let (live, held) = bring(context, archive, &valid, &built, &world, &history).await?;
    let sets = live.network_policy_sets.iter().chain(&world.network_policy_sets);
    observed.network_waits_for = sets.into_iter().find_map(network_policies::waits_for);
    let services = services(&built, &live, &held);
    let is_up = services.iter().all(|service| service.ready > 0) && !services.is_empty();
    observed.services = Some(services);
    if matches!(valid.shape, Shape::Distributed(_)) {
        observed.engine_missing = Some(ENGINE_MISSING.to_owned());
    }
    let core = if is_up { Some(dial(context, &valid, &made.operator)?) } else { None };
    let live_secrets = &*world.live.secrets;
    let desk = Desk { context, archive, valid: &valid, live_secrets, core: core.as_ref() };
    let audited = match standing(&built, &live, &held, &world) {
        Ok(standing) => audit(&desk, history, &standing).await,
        Err(halt) => Err(halt),
    };
    let audit = match audited {
        Ok(audit) => audit,
        Err(halt) => {
            // What cannot be recorded is told; how long mail is kept does not wait for it.
            policies::deliver(context, archive, &world.policies, core.as_ref()).await?;
            return Err(halt);
        }
    };
    metrics::OPERATOR_SNAPSHOTS_PENDING.set([&key], audit.pending as f64);
    if audit.last.is_some() {
        // From now on there is a ledger that must learn of the end.
        finalizer::hold(context, archive).await?;
    }
    let waits = !is_up || audit.pending > 0;
    observed.audit = Some(audit);
    if let Some(failed) = live.jobs.iter().find(|job| gate::has_failed(job)) {
        let message =
            format!("Job {} failed: read its log, mend the cause, delete the Job", failed.name_any());
        return Err(Halt::terminal(Reason::MigrationFailed, message));
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

/// Applies what may be applied now, removes what is built no longer. Answers the objects as they stand.
async fn bring(
    context: &Context,
    archive: &ArchiveCore,
    valid: &ValidArchive,
    built: &Objects,
    world: &World,
    history: &History,
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
    let mut told = Told { history, drifts: Vec::new(), deleted: Vec::new() };
    let now = async {
        Ok::<_, Halt>(Objects {
            service_accounts: told.of(
                &live.service_accounts,
                apply(context, namespace, name, service_accounts, &live.service_accounts).await?,
            ),
            config_maps: told.of(
                &live.config_maps,
                apply(context, namespace, name, config_maps, &live.config_maps).await?,
            ),
            secrets: told.of(&live.secrets, apply(context, namespace, name, secrets, &live.secrets).await?),
            services: told
                .of(&live.services, apply(context, namespace, name, services, &live.services).await?),
            network_policy_sets: told.of(
                &live.network_policy_sets,
                apply(context, namespace, name, network_policy_sets, &live.network_policy_sets).await?,
            ),
            jobs: told.of(&live.jobs, apply(context, namespace, name, jobs, &live.jobs).await?),
            stateful_sets: told.of(
                &live.stateful_sets,
                apply(context, namespace, name, stateful_sets, &live.stateful_sets).await?,
            ),
            deployments: told
                .of(&live.deployments, apply(context, namespace, name, &open, &live.deployments).await?),
            disruption_budgets: told.of(
                &live.disruption_budgets,
                apply(context, namespace, name, disruption_budgets, &live.disruption_budgets).await?,
            ),
        })
    };
    let now = now.await;
    // Also if a later object could not be brought back.
    told.tell(context, archive).await;
    let mut now = now?;
    let held_back = live
        .deployments
        .iter()
        .filter(|live| now.deployments.iter().all(|one| one.name_any() != live.name_any()));
    let held_back: Vec<_> = held_back.cloned().collect();
    now.deployments.extend(held_back);
    for name in prune(context, namespace, built, live).await? {
        context
            .tell(archive, Reason::Reconciled, "Remove", format!("{name} is built no longer and was removed"))
            .await;
    }
    Ok((now, held))
}

/// What others did to the archive's objects, and what was undone.
struct Told<'a> {
    history: &'a History,
    drifts: Vec<Drift>,
    /// Kind and name of objects that were applied once, and were not there.
    deleted: Vec<(&'static str, String)>,
}

impl Told<'_> {
    fn of<K: Kind>(&mut self, live: &[K], applied: Applied<K>) -> Vec<K> {
        let is_new = |name: &&String| {
            named(live, name).is_none() && applied.drifts.iter().all(|drift| drift.name != **name)
        };
        let new = applied.written.iter().filter(is_new);
        let deleted = new.filter(|name| self.history.has(kind_of::<K>(), name));
        self.deleted.extend(deleted.map(|name| (kind_of::<K>(), name.clone())));
        self.drifts.extend(applied.drifts);
        applied.objects
    }

    /// An event, a count and a line in the log for each.
    async fn tell(self, context: &Context, archive: &ArchiveCore) {
        for Drift { kind, name, manager } in self.drifts {
            let note = format!("{kind} {name} was changed by {manager} and is as built again");
            tell_drift(context, archive, (kind, name), (&manager, "Correct"), note).await;
        }
        for (kind, name) in self.deleted {
            let note = format!("{kind} {name} was deleted by {UNKNOWN_MANAGER} and is made anew");
            tell_drift(context, archive, (kind, name), (UNKNOWN_MANAGER, "Remake"), note).await;
        }
    }
}

async fn tell_drift(
    context: &Context,
    archive: &ArchiveCore,
    (kind, name): (&'static str, String),
    (manager, action): (&str, &str),
    note: String,
) {
    metrics::OPERATOR_DRIFTS.inc([kind]);
    let about = ObjectReference {
        kind: Some(kind.to_owned()),
        name: Some(name.clone()),
        namespace: archive.namespace(),
        ..ObjectReference::default()
    };
    context.tell_about(archive, Some(about), Reason::DriftCorrected, action, note).await;
    let archive = archive.name_any();
    tracing::warn!(archive, kind, object = name, manager, "what somebody else did is undone");
}

/// What is on record when this pass ends: all that was built, but for what the gate holds back.
fn standing(built: &Objects, live: &Objects, held: &Held, world: &World) -> Result<Standing, Halt> {
    let is_held = |one: &&Deployment| {
        let component = one.labels().get(LABEL_COMPONENT);
        held.iter().any(|(held, _)| component == Some(held))
    };
    let is_there = |one: &&Deployment| named(&live.deployments, &one.name_any()).is_some();
    let as_before = built.deployments.iter().filter(is_held).filter(is_there).map(ResourceExt::name_any);
    let open = built.deployments.iter().filter(|one| !is_held(one)).cloned().collect();
    let applied = Objects { deployments: open, ..built.clone() };
    let unwritable = |error: serde_json::Error| {
        Halt::terminal(Reason::InvalidSpec, format!("the configuration cannot be recorded: {error}"))
    };
    Ok(Standing {
        objects: applied.values().map_err(unwritable)?,
        as_before: as_before.collect(),
        referring: referring(&world.policies, &world.network_policy_sets).map_err(unwritable)?,
    })
}

fn services(built: &Objects, live: &Objects, held: &Held) -> Vec<Progress> {
    let mut services: Vec<_> = live.stateful_sets.iter().map(gate::stateful_set_progress).collect();
    for deployment in built.deployments.iter().filter(|one| gate::is_service(one)) {
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
