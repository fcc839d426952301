//! The controllers: what is watched, what each event wakes, and what happens after a pass.

use std::{
    collections::{HashMap, HashSet},
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
    runtime::{
        Config, Controller, Predicate as _, PredicateConfig, WatchStreamExt as _,
        controller::{self, Action},
        predicates,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use openarchive_operator_api::{
    ArchiveCore, EdgeAgent, LABEL_AGENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, NetworkPolicySet,
    Placement, RetentionPolicy,
};
use openarchive_telemetry::metrics;

use crate::{
    Context, Halt, RETRY_AFTER_MAX, Reason, agents, archive, network_policies, objects::Kind, policies,
    watch_pause::WatchPause,
};

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;
/// Events that come together are one pass.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Longest pass: an API server that takes a call and never answers must not hold an object, or the end of the operator, for ever.
const PASS_SECONDS_MAX: Duration = Duration::from_secs(300);
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
    let archives = archives(&context, until());
    let sets = network_policy_sets(&context, until());
    let policies = retention_policies(&context, until());
    let agents = edge_agents(&context, until());
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
    let controller = Controller::new(api::<ArchiveCore>(client, namespace), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .watches(api::<StatefulSet>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Deployment>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Job>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Service>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<ServiceAccount>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<ConfigMap>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<Secret>(client, namespace), ours.clone(), |object| instance(&object))
        .watches(api::<PodDisruptionBudget>(client, namespace), ours, |object| instance(&object))
        .watches(api::<NetworkPolicySet>(client, namespace), watcher::Config::default(), |set| {
            named(&set, &set.spec.archive_ref.name)
        })
        .watches(api::<RetentionPolicy>(client, namespace), watcher::Config::default(), |policy| {
            named(&policy, &policy.spec.archive_ref.name)
        })
        .watches(api::<EdgeAgent>(client, namespace), watcher::Config::default(), |agent| {
            is_in_cluster(&agent).then(|| named(&agent, &agent.spec.archive_ref.name)).flatten()
        });
    drive("ArchiveCore", controller, context.clone(), stop, archive::reconcile).await;
}

async fn network_policy_sets(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let namespace = context.settings.namespace.as_deref();
    let controller = of_changes(api::<NetworkPolicySet>(client, namespace))
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    let sets = controller.store();
    let of_archive = sets.clone();
    let of_policy = sets.clone();
    let of_agent = sets;
    let referring = |sets: &kube::runtime::reflector::Store<NetworkPolicySet>,
                     namespace: Option<String>,
                     name: &str| {
        let refers =
            |set: &Arc<NetworkPolicySet>| set.namespace() == namespace && set.spec.archive_ref.name == name;
        sets.state().into_iter().filter(refers).map(|set| ObjectRef::from_obj(&*set)).collect::<Vec<_>>()
    };
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    let controller = controller
        // By label: one that lost its owner, or is going with the one before, must wake whoever makes it again.
        .watches(api::<NetworkPolicy>(client, namespace), ours, move |policy| {
            let archive = policy.labels().get(LABEL_INSTANCE).cloned().unwrap_or_default();
            referring(&of_policy, policy.namespace(), &archive)
        })
        .watches(api::<ArchiveCore>(client, namespace), watcher::Config::default(), move |archive| {
            referring(&of_archive, archive.namespace(), &archive.name_any())
        })
        .watches(api::<EdgeAgent>(client, namespace), watcher::Config::default(), move |agent| {
            let name = &agent.spec.archive_ref.name;
            is_in_cluster(&agent).then(|| referring(&of_agent, agent.namespace(), name)).into_iter().flatten()
        });
    drive("NetworkPolicySet", controller, context.clone(), stop, network_policies::reconcile).await;
}

async fn retention_policies(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let api = api::<RetentionPolicy>(&context.client, context.settings.namespace.as_deref());
    let controller =
        of_changes(api).with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    drive("RetentionPolicy", controller, context.clone(), stop, policies::reconcile).await;
}

async fn edge_agents(context: &Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let namespace = context.settings.namespace.as_deref();
    let controller = of_changes(api::<EdgeAgent>(client, namespace))
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    let agents = controller.store();
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_AGENT}"));
    let controller = controller
        .watches(api::<StatefulSet>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<Service>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<ServiceAccount>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<ConfigMap>(client, namespace), ours.clone(), |object| agent(&object))
        .watches(api::<Secret>(client, namespace), ours, |object| agent(&object))
        .watches(api::<ArchiveCore>(client, namespace), watcher::Config::default(), move |archive| {
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
    drive("EdgeAgent", controller, context.clone(), stop, agents::reconcile).await;
}

/// Caches objects without their managed fields, which are half of each and which no pass over these kinds reads. A status that
/// was written, by a pass most of all, is no reason for another pass.
fn of_changes<K: Kind>(api: Api<K>) -> Controller<K> {
    let (reader, writer) = reflector::store();
    let stream =
        watcher(api, watcher::Config::default()).modify(|object| object.managed_fields_mut().clear());
    let changed = predicates::generation.combine(predicates::labels).combine(predicates::annotations);
    let changes =
        stream.reflect(writer).applied_objects().predicate_filter(changed, PredicateConfig::default());
    Controller::for_stream(changes, reader)
}

fn api<K: Kind>(client: &Client, namespace: Option<&str>) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Of an agent elsewhere nothing stands in certificates and network policies.
fn is_in_cluster(agent: &EdgeAgent) -> bool {
    agent.spec.placement == Placement::InCluster
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
    kind: &'static str,
    controller: Controller<K>,
    context: Arc<Context>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
    reconcile: R,
) where
    K: Kind + Debug,
    R: Fn(Arc<K>, Arc<Context>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Duration, Halt>> + Send + 'static,
{
    let failures = Failures::default();
    let counted = failures.clone();
    let stalled = Arc::<Mutex<HashSet<String>>>::default();
    let (gone_failures, gone_stalled) = (failures.clone(), stalled.clone());
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
            count_stalled(kind, &stalled, &key, matches!(outcome, Err(Halt::Terminal { .. })));
            if !matches!(outcome, Err(Halt::Transient { .. })) {
                failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            outcome.map(Action::requeue)
        }
    };
    let policy = move |object: Arc<K>, halt: &Halt, _: Arc<Context>| after(kind, &*object, halt, &failures);
    controller
        .trigger_backoff(WatchPause)
        .graceful_shutdown_on(stop)
        .run(reconciler, policy, context)
        .for_each(|outcome| {
            match outcome {
                // What belonged to it, or its own next look, wakes an object that is there no more.
                Err(controller::Error::ObjectNotFound(gone)) => {
                    let key = format!("{}/{}", gone.namespace.as_deref().unwrap_or_default(), gone.name);
                    gone_failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    count_stalled(kind, &gone_stalled, &key, false);
                    if kind == ArchiveCore::kind(&()) {
                        archive::forget(&key);
                    }
                }
                // Passes that fail are told in `after`; what is left is a watch that broke, which comes again by itself.
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => tracing::debug!(kind, %error, "a watch is begun again"),
            }
            std::future::ready(())
        })
        .await;
}

fn count_stalled(kind: &'static str, stalled: &Mutex<HashSet<String>>, key: &str, is_stalled: bool) {
    let mut stalled = stalled.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = if is_stalled { stalled.insert(key.to_owned()) } else { stalled.remove(key) };
    metrics::OPERATOR_STALLED.set([kind], stalled.len() as f64);
}

fn key<K: ResourceExt>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
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
            Action::requeue(crate::RESYNC_AFTER)
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
