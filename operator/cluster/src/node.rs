//! The scheduler's and the kubelet's part, for a cluster without nodes.

mod pod;
mod volume;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::{
    StreamExt as _,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    runtime::{Controller, controller::Action, watcher},
};
use openarchive_domain::SystemClock;
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use crate::background::Background;

/// Name of the one node.
const NODE: &str = "stand-in";
/// The default StorageClass, and who provisions it.
const STORAGE_CLASS: &str = "stand-in";
const PROVISIONER: &str = "openarchive.dev/node-stand-in";
/// After an error, and while something that is not watched is awaited.
const RETRY: Duration = Duration::from_millis(200);
/// Longest wait for the node to be there.
const START_SECONDS_MAX: u64 = 60;

/// What a test wants of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// They stay Pending.
    Hold,
    /// Those of Jobs fail, others crash again and again.
    Fail,
}

/// Pods of a namespace that have all these labels.
type Selector = (String, BTreeMap<String, String>);
type Treatments = Arc<Mutex<BTreeMap<Selector, Treatment>>>;

/// Binds pods to its node and reports of them what a kubelet would: those of Jobs succeed at once, others are Ready, all have an
/// address; deleted ones end. Binds claims of its StorageClass, which is the default, to volumes that do not exist. It is a
/// user of its own, [`NodeStandIn::USER`].
pub struct NodeStandIn {
    treatments: Treatments,
    changed: UnboundedSender<()>,
    _task: Background,
}

/// What the reconcilers share.
struct Context {
    client: Client,
    treatments: Treatments,
    clock: SystemClock,
}

impl NodeStandIn {
    pub const USER: &str = "node-stand-in";

    /// Returns once the node and the StorageClass are there.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let treatments = Treatments::default();
        let (changed, changes) = unbounded();
        let (registered, is_registered) = oneshot::channel();
        let shared = treatments.clone();
        let task = Background::start("node-stand-in", move || async move {
            let client = match register(config).await {
                Ok(client) => client,
                Err(error) => {
                    let _ = registered.send(Err(error));
                    return;
                }
            };
            let _ = registered.send(Ok(()));
            run(Arc::new(Context { client, treatments: shared, clock: SystemClock }), changes).await;
        })?;
        timeout(Duration::from_secs(START_SECONDS_MAX), is_registered)
            .await
            .with_context(|| format!("the node is not there after {START_SECONDS_MAX} s"))??
            .context("cannot make the node")?;
        Ok(Self { treatments, changed, _task: task })
    }

    /// Pods that match stay Pending until they are released; what runs already goes on.
    pub fn hold(&self, namespace: &str, labels: &[(&str, &str)]) {
        self.treat(namespace, labels, Some(Treatment::Hold));
    }

    /// Pods that match fail, those that run already, too. A pod that may restart (`Always`, `OnFailure`) crashes and is not
    /// Ready until it is released; one that may not ends as Failed.
    pub fn fail(&self, namespace: &str, labels: &[(&str, &str)]) {
        self.treat(namespace, labels, Some(Treatment::Fail));
    }

    /// Ends [`Self::hold`] and [`Self::fail`] for the same labels.
    pub fn release(&self, namespace: &str, labels: &[(&str, &str)]) {
        self.treat(namespace, labels, None);
    }

    fn treat(&self, namespace: &str, labels: &[(&str, &str)], treatment: Option<Treatment>) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let selector = (namespace.to_owned(), labels);
        let mut treatments = self.treatments.lock().unwrap_or_else(PoisonError::into_inner);
        match treatment {
            Some(treatment) => treatments.insert(selector, treatment),
            None => treatments.remove(&selector),
        };
        let _ = self.changed.unbounded_send(());
    }
}

impl Context {
    fn treatment(&self, pod: &Pod) -> Option<Treatment> {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let treatments = self.treatments.lock().unwrap_or_else(PoisonError::into_inner);
        treatments
            .iter()
            .filter(|((namespace, _), _)| pod.metadata.namespace.as_ref() == Some(namespace))
            .find(|((_, wanted), _)| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
            .map(|(_, treatment)| *treatment)
    }
}

/// Makes the node and the StorageClass.
async fn register(config: Config) -> Result<Client, kube::Error> {
    let client = Client::try_from(config)?;
    let apply = PatchParams::apply(NodeStandIn::USER).force();
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
    });
    nodes.patch(NODE, &apply, &Patch::Apply(&node)).await?;
    // A node is born with the taint not-ready, which its lifecycle controller would take away.
    nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": null}}))).await?;
    let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "10000", "ephemeral-storage": "1Ti"});
    let condition = json!({"type": "Ready", "status": "True", "reason": "StandIn", "message": "no kubelet"});
    let status =
        json!({"status": {"capacity": capacity, "allocatable": capacity, "conditions": [condition]}});
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
    });
    Api::<StorageClass>::all(client.clone()).patch(STORAGE_CLASS, &apply, &Patch::Apply(class)).await?;
    Ok(client)
}

/// Ends only with the runtime that it runs on.
async fn run(context: Arc<Context>, changes: UnboundedReceiver<()>) {
    let client = &context.client;
    let every = watcher::Config::default;
    let pods = Controller::new(Api::<Pod>::all(client.clone()), every())
        .reconcile_all_on(changes)
        .run(pod::reconcile, again, context.clone())
        .for_each(async |_| ());
    let claims = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), every())
        .run(volume::provision, again, context.clone())
        .for_each(async |_| ());
    let volumes = Controller::new(Api::<PersistentVolume>::all(client.clone()), every())
        .run(volume::reclaim, again, context.clone())
        .for_each(async |_| ());
    futures::join!(pods, claims, volumes);
}

/// Every error is tried again: the next pass sees the object as it is then.
fn again<K>(_: Arc<K>, _: &kube::Error, _: Arc<Context>) -> Action {
    Action::requeue(RETRY)
}

/// What was changed or deleted since it was read is no error: its next event is on the way.
fn unless_outdated<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(|_| ()),
    }
}
