//! What the bundle tells of each kind: a field that is not named here is not written.

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, DeploymentStatus, StatefulSet, StatefulSetStatus},
        core::v1::{Container, ContainerState, ContainerStatus, Pod, PodTemplateSpec, Service},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, NetworkPolicySet, RetentionPolicy};
use openarchive_operator_snapshot::of_revision;
use serde::Serialize;
use serde_json::{Value, json};

use super::personal::{without, without_in};

/// Of the labels only these: others may say anything.
const LABEL_PREFIXES: [&str; 2] = ["app.kubernetes.io/", "openarchive.dev/"];

pub(super) fn archive_core(core: &ArchiveCore) -> Value {
    json!({"metadata": metadata(core), "spec": typed(&core.spec), "status": typed(&core.status)})
}

pub(super) fn edge_agent(agent: &EdgeAgent) -> Value {
    json!({"metadata": metadata(agent), "spec": typed(&agent.spec), "status": typed(&agent.status)})
}

pub(super) fn network_policy_set(set: &NetworkPolicySet) -> Value {
    json!({"metadata": metadata(set), "spec": typed(&set.spec), "status": typed(&set.status)})
}

/// Of the mailboxes only how many there are: they are people.
pub(super) fn retention_policy(policy: &RetentionPolicy) -> Value {
    let mailboxes = policy.spec.match_.mailboxes.len();
    let mut spec = policy.spec.clone();
    spec.match_.mailboxes.clear();
    let mut spec = typed(&spec);
    spec["match"]["mailboxes"] = json!(format!("(left out: addresses, {mailboxes})"));
    json!({"metadata": metadata(policy), "spec": spec, "status": typed(&policy.status)})
}

/// Of one of our own types: its fields are those of the definition and no others.
fn typed(value: &impl Serialize) -> Value {
    without_in(serde_json::to_value(value).unwrap_or_default())
}

fn metadata<K: ResourceExt>(object: &K) -> Value {
    let labels =
        object.labels().iter().filter(|(key, _)| LABEL_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    let owners = object.owner_references().iter().map(|owner| format!("{} {}", owner.kind, owner.name));
    let writers = object.managed_fields().iter().map(|entry| {
        json!({
            "manager": entry.manager.as_deref().map(without),
            "operation": entry.operation,
            "subresource": entry.subresource,
            "time": entry.time.as_ref().map(text_of),
        })
    });
    json!({
        "name": object.name_any(),
        "namespace": object.namespace(),
        "uid": object.uid(),
        "generation": object.meta().generation,
        "created": object.creation_timestamp().as_ref().map(text_of),
        "deleted": object.meta().deletion_timestamp.as_ref().map(text_of),
        "finalizers": object.finalizers(),
        "labels": labels.map(|(key, value)| (key.clone(), json!(value))).collect::<serde_json::Map<_, _>>(),
        "annotations_set": object.annotations().keys().map(|key| without(key)).collect::<Vec<_>>(),
        "owners": owners.collect::<Vec<_>>(),
        "writers": writers.collect::<Vec<_>>(),
    })
}

fn text_of(time: &Time) -> String {
    time.0.to_string()
}

pub(super) fn stateful_set(set: &StatefulSet) -> Value {
    let spec = set.spec.as_ref();
    let StatefulSetStatus {
        replicas,
        ready_replicas,
        updated_replicas,
        current_revision,
        update_revision,
        ..
    } = set.status.clone().unwrap_or_default();
    json!({
        "metadata": metadata(set),
        "replicas": spec.and_then(|spec| spec.replicas),
        "pod": spec.map(|spec| template(&spec.template)),
        "status": {
            "replicas": replicas, "ready": ready_replicas, "updated": updated_replicas,
            "current_revision": current_revision, "update_revision": update_revision,
        },
    })
}

pub(super) fn deployment(deployment: &Deployment) -> Value {
    let spec = deployment.spec.as_ref();
    let DeploymentStatus { replicas, ready_replicas, updated_replicas, conditions, .. } =
        deployment.status.clone().unwrap_or_default();
    let conditions = conditions.unwrap_or_default();
    json!({
        "metadata": metadata(deployment),
        "replicas": spec.and_then(|spec| spec.replicas),
        "pod": spec.map(|spec| template(&spec.template)),
        "status": {
            "replicas": replicas, "ready": ready_replicas, "updated": updated_replicas,
            "conditions": conditions.iter().map(|one| condition(&one.type_, &one.status, one.reason.as_deref())).collect::<Vec<_>>(),
        },
    })
}

fn template(template: &PodTemplateSpec) -> Value {
    let spec = template.spec.clone().unwrap_or_default();
    let initial = spec.init_containers.unwrap_or_default();
    json!({
        "init_containers": initial.iter().map(container).collect::<Vec<_>>(),
        "containers": spec.containers.iter().map(container).collect::<Vec<_>>(),
        "volumes": spec.volumes.unwrap_or_default().iter().map(|volume| &volume.name).collect::<Vec<_>>(),
        "service_account": spec.service_account_name,
    })
}

/// Variables by name: their values, the command and its arguments may hold a password that somebody put there.
fn container(container: &Container) -> Value {
    let variables = container.env.iter().flatten().map(|variable| &variable.name);
    let ports =
        container.ports.iter().flatten().map(|port| json!({"name": port.name, "port": port.container_port}));
    json!({
        "name": container.name,
        "image": container.image,
        "ports": ports.collect::<Vec<_>>(),
        "resources": container.resources,
        "variables_set": variables.collect::<Vec<_>>(),
    })
}

pub(super) fn service(service: &Service) -> Value {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let ports =
        ports.iter().map(|port| json!({"name": port.name, "port": port.port, "target": port.target_port}));
    json!({
        "metadata": metadata(service),
        "type": spec.type_,
        "cluster_ip": spec.cluster_ip,
        "selector": spec.selector,
        "external_traffic_policy": spec.external_traffic_policy,
        "source_ranges": spec.load_balancer_source_ranges,
        "ports": ports.collect::<Vec<_>>(),
    })
}

/// With why each rule is there, which the operator writes from the graph and from extra edges.
pub(super) fn network_policy(policy: &NetworkPolicy) -> Value {
    let why = policy.annotations().iter().filter(|(key, _)| key.starts_with("why.openarchive.dev/"));
    json!({
        "metadata": metadata(policy),
        "spec": policy.spec,
        "why": why.map(|(key, value)| (key.clone(), json!(without(value)))).collect::<serde_json::Map<_, _>>(),
    })
}

pub(super) fn configuration(revision: &ControllerRevision) -> Value {
    let read = of_revision(revision);
    json!({
        "name": revision.name_any(),
        "number": revision.revision,
        "created": revision.creation_timestamp().as_ref().map(text_of),
        "sha256": read.as_ref().ok().map(|read| read.snapshot.digest().hex()),
        "generation": read.as_ref().ok().map(|read| read.snapshot.generation()),
        "operator_version": read.as_ref().ok().map(|read| without(read.snapshot.operator_version())),
        "unreadable": read.as_ref().err().map(|error| without(&error.to_string())),
    })
}

pub(super) fn pod(pod: &Pod) -> Value {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let containers = |found: Option<Vec<ContainerStatus>>| {
        found.unwrap_or_default().iter().map(container_status).collect::<Vec<_>>()
    };
    json!({
        "metadata": metadata(pod),
        "node": pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        "phase": status.phase,
        "reason": status.reason,
        "started": status.start_time.as_ref().map(text_of),
        "conditions": conditions.iter().map(|one| condition(&one.type_, &one.status, one.reason.as_deref())).collect::<Vec<_>>(),
        "init_containers": containers(status.init_container_statuses),
        "containers": containers(status.container_statuses),
    })
}

fn condition(type_: &str, status: &str, reason: Option<&str>) -> Value {
    json!({"type": type_, "status": status, "reason": reason.map(without)})
}

/// Without the message of a container that ended: it is the end of what the container wrote.
fn container_status(status: &ContainerStatus) -> Value {
    json!({
        "name": status.name,
        "image": status.image,
        "image_id": status.image_id,
        "ready": status.ready,
        "restarts": status.restart_count,
        "state": status.state.as_ref().map(state),
        "last_state": status.last_state.as_ref().map(state),
    })
}

fn state(state: &ContainerState) -> Value {
    let waiting = state.waiting.as_ref().map(|waiting| json!({"reason": waiting.reason}));
    let running =
        state.running.as_ref().map(|running| json!({"since": running.started_at.as_ref().map(text_of)}));
    let ended = state.terminated.as_ref().map(|ended| {
        json!({
            "reason": ended.reason, "exit_code": ended.exit_code, "signal": ended.signal,
            "at": ended.finished_at.as_ref().map(text_of),
        })
    });
    json!({"waiting": waiting, "running": running, "ended": ended})
}
