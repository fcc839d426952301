use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{Resource, ResourceExt};
use openarchive_domain::Timestamp;
use openarchive_operator_api::{ArchiveCore, LABEL_COMPONENT};
use openarchive_telemetry::metrics;
use serde_json::Value;

use super::{
    ValidArchive,
    audit::{Desk, History, Standing, audit, network_policies as audited_policies, referring},
    build::{Ground, Volume, build, volume},
    certificates::{Certificates, certificates},
    dereference::{World, dereference},
    dial::dial,
    farewell::farewell,
    gate::{self, Held, Progress, gate},
    given_secrets::given_secrets,
    status::{self, Observed},
    validate::{Shape, one_set, validate},
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    apply::{Drift, Restart, apply, kind_of},
    drift::same_quantity,
    finalizer, network_policies,
    objects::{Kind, Objects, Step, named},
    policies,
    prune::prune,
    status_writer::write_status,
    told::{remaining, tell_drifts, tell_ready, tell_restarts},
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
        if write_status(&context, &*archive, archive.status.as_ref(), &paused).await? {
            tell_ready(&context, &*archive, &old.conditions, &paused.conditions).await;
        }
        policies::wait(&context, &archive, Reason::Paused, "is paused").await?;
        return Ok(RESYNC_AFTER);
    }
    let mut observed = Observed::default();
    let outcome = Box::pin(pass(&context, &archive, &mut observed)).await;
    let halt = outcome.as_ref().err();
    let mut new = status::status(&old, archive.metadata.generation, &observed, halt, context.now());
    if halt.is_some_and(|halt| matches!(halt, Halt::Transient { .. })) && old.observed_generation.is_some() {
        // What was said of an earlier generation stays said of it until a pass over the new one comes through.
        new.observed_generation =
            old.observed_generation.filter(|_| observed.services.is_none()).or(new.observed_generation);
    }
    if write_status(&context, &*archive, archive.status.as_ref(), &new).await? {
        tell_ready(&context, &*archive, &old.conditions, &new.conditions).await;
    }
    if matches!(halt, Some(Halt::Terminal { .. })) && !observed.policies_told {
        policies::wait(&context, &archive, Reason::Progressing, "is stalled, and says why").await?;
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
    let mut made = certificates(context, &valid, &world.live.secrets, &world.running).await?;
    let key = format!("{}/{}", valid.namespace, valid.name);
    let first_end = made.reports.iter().filter_map(|report| report.not_after.parse::<Timestamp>().ok()).min();
    if let Some(end) = first_end {
        metrics::OPERATOR_CERTIFICATE_END.set([&key], (end.as_millis() / 1_000) as f64);
    }
    observed.exchange_waits_for.clone_from(&made.waiting);
    let given = given_secrets(context, &valid, &world.live.secrets, &history).await;
    let halt = match given {
        Ok(given) => {
            made.secrets.extend(given);
            one_set(&sets).err()
        }
        Err(halt) => Some(halt),
    };
    if let Some(halt) = halt {
        // Certificates run out all the same.
        bring_secrets(context, archive, &valid, &made.secrets, &world, &history).await?;
        observed.certificates = Some(made.reports);
        return Err(halt);
    }
    let built = build(&valid, &ground(context, &valid, &world, &made));
    let (live, held) = bring(context, archive, &valid, &built, &world, &history, observed).await?;
    // Of what stands: what was issued and could not be stored is issued anew with the next pass, and would be told anew each time.
    observed.certificates = Some(made.reports.clone());
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
    let policed = policed(context, &valid, &built, &world).await;
    let standing = policed.and_then(|policed| standing(&built, &live, &held, &world, policed));
    let pending = put_on_record(&desk, history, standing, observed).await;
    observed.policies_told = true;
    // What cannot be recorded is told; how long mail is kept does not wait for it, nor for a Job that failed.
    let delivered = policies::deliver(context, archive, &world.policies, core.as_ref()).await;
    if let Some(failed) = live.jobs.iter().find(|job| gate::has_failed(job)) {
        let message =
            format!("Job {} failed: read its log, mend the cause, delete the Job", failed.name_any());
        return Err(Halt::terminal(Reason::MigrationFailed, message));
    }
    let waits = pending? > 0 || !is_up;
    delivered?;
    if waits && !valid.stopped {
        return Ok(LOOK_AGAIN_AFTER_MIN);
    }
    let until = made.look_again_at.as_millis() - context.clock.now().as_millis();
    let until = Duration::from_millis(u64::try_from(until).unwrap_or(0)).max(LOOK_AGAIN_AFTER_MIN);
    Ok(until.min(RESYNC_AFTER))
}

/// Puts what stands on record. Answers how many configurations are kept and not recorded yet.
async fn put_on_record(
    desk: &Desk<'_>,
    history: History,
    standing: Result<Standing, Halt>,
    observed: &mut Observed,
) -> Result<usize, Halt> {
    let audit = audit(desk, history, &standing?).await?;
    let key = format!("{}/{}", desk.valid.namespace, desk.valid.name);
    metrics::OPERATOR_SNAPSHOTS_PENDING.set([&key], audit.pending as f64);
    if audit.last.is_some() {
        // From now on there is a ledger that must learn of the end.
        finalizer::hold(desk.context, desk.archive).await?;
    }
    let pending = audit.pending;
    observed.audit = Some(audit);
    Ok(pending)
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
    observed: &mut Observed,
) -> Result<(Objects, Held), Halt> {
    let live = &world.live;
    let (open, held) = gate(built, live);
    let open = Objects { deployments: open.into_iter().cloned().collect(), ..built.clone() };
    let mut applying = Applying { context, valid, history, drifts: Vec::new(), restarts: Vec::new() };
    let now = Objects::each(&open, live, &mut applying).await;
    // Also if a later object could not be brought back.
    tell_drifts(context, archive, &applying.drifts).await;
    tell_restarts(context, archive, &applying.restarts).await;
    let mut now = now?;
    observed.left = Some(remaining(&applying.drifts));
    let held_back = live
        .deployments
        .iter()
        .filter(|live| now.deployments.iter().all(|one| one.name_any() != live.name_any()));
    let held_back: Vec<_> = held_back.cloned().collect();
    now.deployments.extend(held_back);
    for name in prune(context, &valid.namespace, built, live).await? {
        context
            .tell(archive, Reason::Reconciled, "Remove", format!("{name} is built no longer and was removed"))
            .await;
    }
    Ok((now, held))
}

/// [`bring`], of Secrets alone.
async fn bring_secrets(
    context: &Context,
    archive: &ArchiveCore,
    valid: &ValidArchive,
    secrets: &[Secret],
    world: &World,
    history: &History,
) -> Result<(), Halt> {
    let mut applying = Applying { context, valid, history, drifts: Vec::new(), restarts: Vec::new() };
    let now = applying.kind(secrets, &world.live.secrets).await;
    tell_drifts(context, archive, &applying.drifts).await;
    now.map(drop)
}

struct Applying<'a> {
    context: &'a Context,
    valid: &'a ValidArchive,
    history: &'a History,
    /// What others did to the archive's objects.
    drifts: Vec<Drift>,
    restarts: Vec<Restart>,
}

impl Step for Applying<'_> {
    async fn kind<K: Kind>(&mut self, built: &[K], live: &[K]) -> Result<Vec<K>, Halt> {
        let applied = apply(self.context, &self.valid.namespace, &self.valid.name, built, live).await?;
        // What was there when the last configuration was kept.
        let applied = applied.with_remade(live, |name| self.history.has(kind_of::<K>(), name));
        self.drifts.extend(applied.drifts);
        self.restarts.extend(applied.restarts);
        Ok(applied.objects)
    }
}

/// What is on record when this pass ends: all that was built, but for what the gate holds back.
fn standing(
    built: &Objects,
    live: &Objects,
    held: &Held,
    world: &World,
    policed: Vec<Value>,
) -> Result<Standing, Halt> {
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
    let mut referring = referring(&world.policies, &world.network_policy_sets).map_err(unwritable)?;
    referring.extend(world.agents.iter().cloned());
    let mut objects = applied.values().map_err(unwritable)?;
    objects.extend(policed);
    Ok(Standing { objects, as_before: as_before.collect(), referring })
}

/// The network policies of the one set that stands for the archive: somebody's, or its own.
async fn policed(
    context: &Context,
    valid: &ValidArchive,
    built: &Objects,
    world: &World,
) -> Result<Vec<Value>, Halt> {
    let set = world.network_policy_sets.iter().chain(&built.network_policy_sets).next();
    let url = match &valid.shape {
        Shape::Standalone(_) => None,
        Shape::Distributed(spec) => {
            let secret = &spec.database.admin_secret_ref.name;
            network_policies::database_url(context, &valid.namespace, secret).await?
        }
    };
    audited_policies(valid, set, &world.agents_in_cluster, url.as_deref(), &context.settings)
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
