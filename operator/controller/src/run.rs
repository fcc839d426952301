//! The controllers: what is watched, what each event wakes, and what happens after a pass.

use std::{
    collections::HashMap,
    fmt::Debug,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        Config, Controller, Predicate as _, PredicateConfig, WatchStreamExt as _,
        controller::{self, Action},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use openarchive_operator_api::{
    ArchiveCore, EdgeAgent, LABEL_AGENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, NetworkPolicySet,
    Placement, RetentionPolicy,
};
use openarchive_telemetry::metrics;
use tokio::sync::mpsc;

use crate::{
    Context, Halt, RETRY_AFTER_MAX, Reason, agents, archive,
    guard::{Aside, Guarded, Refers, gathered, key, watch},
    network_policies,
    objects::Kind,
    policies,
    watch_pause::WatchPause,
};

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;
/// Events that come together are one pass.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Longest pass: an API server that takes a call and never answers must not hold an object, or the end of the operator, for ever.
const PASS_SECONDS_MAX: Duration = Duration::from_secs(300);
/// Changes of agents elsewhere that come within this time are one pass over their archive, and one configuration of it: there may
/// be ten thousand of them.
const AGENTS_ELSEWHERE_PAUSE: Duration = Duration::from_secs(10);
/// How long an object waits that is held up by one that is not ours.
const OTHERS_LOOKED_AT_AFTER: Duration = Duration::from_secs(60);
/// First pause after a pass that failed; doubles up to [`RETRY_AFTER_MAX`].
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether the operator has begun to work: it could read every kind.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Runs every controller until `stop` ends, then lets the passes in hand end.
pub async fn run(context: Arc<Context>, ready: Ready, stop: impl Future<Output = ()> + Send + 'static) {
    let (sender, stopped) = tokio::sync::watch::channel(false);
    let waiter = tokio::spawn(async move {
        stop.await;
        let _ = sender.send(true);
    });
    let until = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let reads = tokio::spawn(read_each_kind(context.clone(), ready));
    let archives = Box::pin(archives(&context, until()));
    let sets = Box::pin(network_policy_sets(&context, until()));
    let policies = Box::pin(retention_policies(&context, until()));
    let agents = Box::pin(edge_agents(&context, until()));
    tokio::join!(archives, sets, policies, agents);
    reads.abort();
    waiter.abort();
}

/// Says what is missing (definitions, rights, the API server) until nothing is.
async fn read_each_kind(context: Arc<Context>, ready: Ready) {
    let (client, namespace) = (&context.client, context.settings.namespace.as_deref());
    let one = ListParams::default().limit(1);
    loop {
        let read = async {
            api::<ArchiveCore>(client, namespace).list_metadata(&one).await?;
            api::<NetworkPolicySet>(client, namespace).list_metadata(&one).await?;
            api::<RetentionPolicy>(client, namespace).list_metadata(&one).await?;
            api::<EdgeAgent>(client, namespace).list_metadata(&one).await?;
            api::<StatefulSet>(client, namespace).list_metadata(&one).await?;
            api::<Deployment>(client, namespace).list_metadata(&one).await?;
            api::<Job>(client, namespace).list_metadata(&one).await?;
            api::<Service>(client, namespace).list_metadata(&one).await?;
            api::<ServiceAccount>(client, namespace).list_metadata(&one).await?;
            api::<ConfigMap>(client, namespace).list_metadata(&one).await?;
            api::<Secret>(client, namespace).list_metadata(&one).await?;
            api::<PodDisruptionBudget>(client, namespace).list_metadata(&one).await?;
            api::<NetworkPolicy>(client, namespace).list_metadata(&one).await?;
            Ok::<_, kube::Error>(())
        };
        match read.await {
            Ok(()) => break,
            Err(error) => {
                let halt = Halt::kubernetes("read every kind that is watched", error);
                tracing::warn!(%halt, "are the definitions installed, and may this operator read them?");
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    ready.0.store(true, Ordering::Release);
}

async fn archives(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let namespace = context.settings.namespace.as_deref();
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY},!{LABEL_AGENT}"));
    let (reader, writer) = reflector::store();
    let (events, aside) = watch("ArchiveCore", guarded(client, namespace), reader.clone());
    // With managed fields: a pass tells who wrote the specification.
    let controller = Controller::for_stream(events.reflect(writer).applied_objects(), reader.clone())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .watches(api::<StatefulSet>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Deployment>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Job>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Service>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<ServiceAccount>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<ConfigMap>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Secret>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<PodDisruptionBudget>(client, namespace), ours, |object| instance(&object));
    let archives = reader.clone();
    let controller = controller.watches(guarded(client, namespace), watcher::Config::default(), move |set| {
        referred_to::<NetworkPolicySet>(&archives, &set)
    });
    let archives = reader.clone();
    let controller =
        controller.watches(guarded(client, namespace), watcher::Config::default(), move |policy| {
            referred_to::<RetentionPolicy>(&archives, &policy)
        });
    let (elsewhere, changed_elsewhere) = mpsc::unbounded_channel();
    let specified = Specified::default();
    let controller =
        controller.watches(guarded(client, namespace), watcher::Config::default(), move |agent| {
            let archives = referred_to::<EdgeAgent>(&reader, &agent);
            if !is_elsewhere(&agent) {
                return archives;
            }
            if !specified.is_new(&agent) {
                return Vec::new();
            }
            for archive in archives {
                // Nobody listens at the operator's end alone.
                let _ = elsewhere.send(archive);
            }
            Vec::new()
        });
    let controller = controller.reconcile_on(gathered(changed_elsewhere, AGENTS_ELSEWHERE_PAUSE));
    drive(controller, aside, context.clone(), stop, archive::reconcile).await;
}

async fn network_policy_sets(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let namespace = context.settings.namespace.as_deref();
    let (controller, aside) = of_changes::<NetworkPolicySet>("NetworkPolicySet", client, namespace);
    let sets = controller.store();
    let of_archive = sets.clone();
    let of_policy = sets.clone();
    let of_agent = sets;
    let referring = |sets: &Store<NetworkPolicySet>, namespace: Option<String>, name: Option<&str>| {
        let refers = |set: &Arc<NetworkPolicySet>| {
            set.namespace() == namespace && name.is_none_or(|name| set.spec.archive_ref.name == name)
        };
        sets.state().into_iter().filter(refers).map(|set| ObjectRef::from_obj(&*set)).collect::<Vec<_>>()
    };
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    let controller = controller
        // By label: one that lost its owner, or is going with the one before, must wake whoever makes it again.
        .watches(api::<NetworkPolicy>(client, namespace), ours, move |policy| {
            let archive = policy.labels().get(LABEL_INSTANCE).cloned().unwrap_or_default();
            referring(&of_policy, policy.namespace(), Some(&archive))
        })
        .watches(archives_changed(client, namespace), watcher::Config::default(), move |archive| {
            referring(&of_archive, archive.namespace(), Some(&archive.name_any()))
        })
        .watches(guarded::<EdgeAgent>(client, namespace), watcher::Config::default(), move |agent| {
            let sets = || referring(&of_agent, agent.namespace(), agent.archive());
            if is_elsewhere(&agent) { Vec::new() } else { sets() }
        });
    drive(controller, aside, context.clone(), stop, network_policies::reconcile).await;
}

async fn retention_policies(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let (controller, aside) = of_changes::<RetentionPolicy>(
        "RetentionPolicy",
        &context.client,
        context.settings.namespace.as_deref(),
    );
    drive(controller, aside, context.clone(), stop, policies::reconcile).await;
}

async fn edge_agents(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let namespace = context.settings.namespace.as_deref();
    let (controller, aside) = of_changes::<EdgeAgent>("EdgeAgent", client, namespace);
    let agents = controller.store();
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_AGENT}"));
    let controller = controller
        .watches(api::<StatefulSet>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<Service>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<ServiceAccount>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<ConfigMap>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<Secret>(client, namespace), ours, |object| agent(&object))
        .watches(archives_changed(client, namespace), watcher::Config::default(), move |archive| {
            let (namespace, name) = (archive.namespace(), archive.name_any());
            let refers = |agent: &Arc<EdgeAgent>| {
                agent.namespace() == namespace && agent.spec.archive_ref.name == name
            };
            agents
                .state()
                .into_iter()
                .filter(refers)
                .map(|agent| ObjectRef::from_obj(&*agent))
                .collect::<Vec<_>>()
        });
    drive(controller, aside, context.clone(), stop, agents::reconcile).await;
}

/// Caches objects without their managed fields, which are half of each and which no pass over these kinds reads. A status that
/// was written, by a pass most of all, is no reason for another pass.
fn of_changes<K: Kind>(
    kind: &'static str,
    client: &Client,
    namespace: Option<&str>,
) -> (Controller<K>, Aside) {
    let (reader, writer) = reflector::store();
    let (events, aside) = watch(kind, guarded(client, namespace), reader.clone());
    let stream = events.modify(|object: &mut K| object.managed_fields_mut().clear());
    let changed = predicates::generation.combine(predicates::labels).combine(predicates::annotations);
    let changes =
        stream.reflect(writer).applied_objects().predicate_filter(changed, PredicateConfig::default());
    let controller = Controller::for_stream(changes, reader)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    (controller, aside)
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// For a kind that people write: one that cannot be read must not hide the others.
fn guarded<K: Kind>(client: &Client, namespace: Option<&str>) -> Api<Guarded<K>> {
    api(client, namespace)
}

/// For those who need to know only that an archive has changed.
fn archives_changed(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<ArchiveCore>> {
    api(client, namespace)
}

/// What was specified when an object was last seen: statuses of thousands of agents are written whenever mail flows, and are no
/// change of what is specified.
#[derive(Default)]
struct Specified(Mutex<HashMap<String, Specification>>);

/// Uid and generation.
type Specification = (Option<String>, Option<i64>);

impl Specified {
    fn is_new<K: Resource>(&self, object: &K) -> bool {
        let now = (object.meta().uid.clone(), object.meta().generation);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(key(object), now.clone()) != Some(now)
    }
}

/// Of an agent elsewhere nothing stands in certificates and network policies.
fn is_elsewhere(agent: &Guarded<EdgeAgent>) -> bool {
    agent.0.as_ref().is_ok_and(|agent| agent.spec.placement == Placement::External)
}

/// The archive that an object refers to. If nobody can tell which: each one that could be meant, so that it waits.
fn referred_to<K: Refers>(archives: &Store<ArchiveCore>, object: &Guarded<K>) -> Vec<ObjectRef<ArchiveCore>> {
    if let Some(archive) = object.archive() {
        return named(object, archive).into_iter().collect();
    }
    let is_near = |archive: &Arc<ArchiveCore>| archive.namespace() == object.namespace();
    let near = archives.state().into_iter().filter(is_near);
    near.map(|archive| ObjectRef::from_obj(&*archive)).collect()
}

/// The archive whose label an object carries.
fn instance<K: Resource<DynamicType = ()>>(object: &K) -> Option<ObjectRef<ArchiveCore>> {
    named(object, object.meta().labels.as_ref()?.get(LABEL_INSTANCE)?)
}

/// The agent whose label an object carries.
fn agent<K: Resource<DynamicType = ()>>(object: &K) -> Option<ObjectRef<EdgeAgent>> {
    let name = object.meta().labels.as_ref()?.get(LABEL_AGENT)?;
    Some(ObjectRef::new(name).within(object.meta().namespace.as_ref()?))
}

fn named<K: Resource<DynamicType = ()>>(object: &K, archive: &str) -> Option<ObjectRef<ArchiveCore>> {
    Some(ObjectRef::new(archive).within(object.meta().namespace.as_ref()?))
}

/// How often each object has failed in a row.
type Failures = Arc<Mutex<HashMap<String, u32>>>;

async fn drive<K, R, F>(
    controller: Controller<K>,
    aside: Aside,
    context: Arc<Context>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
    reconcile: R,
) where
    K: Kind + Debug,
    R: Fn(Arc<K>, Arc<Context>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Duration, Halt>> + Send + 'static,
{
    let stalled = aside.stalled.clone();
    let kind = stalled.kind();
    let failures = Failures::default();
    let counted = failures.clone();
    let (gone_failures, gone_stalled) = (failures.clone(), stalled.clone());
    let told_by = context.clone();
    let reconciler = move |object: Arc<K>, context: Arc<Context>| {
        let (reconcile, failures, stalled) = (reconcile.clone(), counted.clone(), stalled.clone());
        async move {
            let key = key(&*object);
            let started = tokio::time::Instant::now();
            let outcome = tokio::time::timeout(PASS_SECONDS_MAX, reconcile(object, context)).await;
            let outcome = outcome.unwrap_or_else(|_| {
                let what = "the pass took too long".to_owned();
                Err(Halt::Transient {
                    reason: Reason::KubernetesApi,
                    what,
                    source: anyhow::anyhow!("no answer in time"),
                })
            });
            let label = match &outcome {
                Ok(_) => "ok",
                Err(Halt::Terminal { .. }) => "stalled",
                Err(Halt::Waiting { .. }) => "waiting",
                Err(Halt::Transient { .. }) => "error",
            };
            metrics::OPERATOR_RECONCILES.inc([kind, label]);
            metrics::OPERATOR_RECONCILE_SECONDS.observe([kind], started.elapsed().as_secs_f64());
            stalled.by_pass(&key, matches!(outcome, Err(Halt::Terminal { .. })));
            if !matches!(outcome, Err(Halt::Transient { .. })) {
                failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            outcome.map(Action::requeue)
        }
    };
    let policy = move |object: Arc<K>, halt: &Halt, _: Arc<Context>| after(kind, &*object, halt, &failures);
    let passes = controller
        .trigger_backoff(WatchPause)
        .graceful_shutdown_on(stop)
        .run(reconciler, policy, context)
        .for_each(|outcome| {
            match outcome {
                // What belonged to it, or its own next look, wakes an object that is there no more.
                Err(controller::Error::ObjectNotFound(gone)) => {
                    let key = format!("{}/{}", gone.namespace.as_deref().unwrap_or_default(), gone.name);
                    gone_failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    gone_stalled.by_pass(&key, false);
                    if kind == ArchiveCore::kind(&()) {
                        archive::forget(&key);
                    }
                    if kind == EdgeAgent::kind(&()) {
                        agents::forget(&key);
                    }
                }
                // Passes that fail are told in `after`; what is left is a watch that broke, which comes again by itself.
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => tracing::debug!(kind, %error, "a watch is begun again"),
            }
            std::future::ready(())
        });
    let telling = async {
        aside.tell::<K>(&told_by).await;
        // The watches end before the last passes do.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = passes => {}
        () = telling => {}
    }
}

/// When to look at an object again whose pass ended early.
fn after<K: Kind>(kind: &'static str, object: &K, halt: &Halt, failures: &Failures) -> Action {
    match halt {
        Halt::Terminal { reason, message } => {
            tracing::warn!(
                kind,
                object = object.name_any(),
                reason = reason.name(),
                message,
                "waits for a change"
            );
            // What is not ours nobody watches: whoever removes it need not wait for long.
            let is_others = *reason == Reason::NotOurs;
            Action::requeue(if is_others { OTHERS_LOOKED_AT_AFTER } else { crate::RESYNC_AFTER })
        }
        Halt::Waiting { after, .. } => Action::requeue(*after),
        Halt::Transient { reason, what, .. } => {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = failures.entry(key(object)).or_default();
            *failed = failed.saturating_add(1);
            let pause = RETRY_AFTER.saturating_mul(1 << (*failed - 1).min(9)).min(RETRY_AFTER_MAX);
            tracing::warn!(kind, object = object.name_any(), reason = reason.name(), what, "is tried again");
            Action::requeue(pause.mul_f64(jitter()))
        }
    }
}

/// Between 0.75 and 1, so that what failed together is not tried again together.
fn jitter() -> f64 {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    0.75 + f64::from(byte[0]) / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_somebody_elses_object_is_looked_at_sooner_than_what_waits_for_its_own_change() {
        let check = |reason: Reason, expected: Duration| {
            let halt = Halt::terminal(reason, "stops");
            let action = after("Service", &Service::default(), &halt, &Failures::default());
            assert_eq!(action, Action::requeue(expected), "{reason:?}");
        };
        check(Reason::NotOurs, OTHERS_LOOKED_AT_AFTER);
        check(Reason::InvalidSpec, crate::RESYNC_AFTER);
        check(Reason::RefusedByCore, crate::RESYNC_AFTER);
    }
}
