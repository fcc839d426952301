//! Pods: what is to be done for one, and what is reported of it.

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PersistentVolumeClaim, Pod, PodSpec};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::controller::Action,
};
use openarchive_domain::{Clock as _, Timestamp};
use serde_json::{Value, json};

use super::{Context, NODE, RETRY, Treatment, unless_outdated};

/// First address of the pods' range, a /9; the rest is of the pod's uid.
const FIRST_POD: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const POD_BITS: u32 = 23;
/// Of RFC 5737: nobody dials the node.
const NODE_ADDRESS: &str = "192.0.2.2";

#[derive(Debug, PartialEq)]
enum Step {
    Wait,
    Bind,
    /// The last step of a deletion, which is the kubelet's.
    Delete,
    /// A new status.
    Report(Value),
}

/// How a pod does that is bound to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ready,
    Crashing,
    Succeeded,
    Failed,
}

pub(super) async fn reconcile(pod: Arc<Pod>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let (Some(namespace), Some(uid)) = (pod.namespace(), pod.uid()) else {
        return Ok(Action::await_change());
    };
    let (name, pods) = (pod.name_any(), Api::<Pod>::namespaced(context.client.clone(), &namespace));
    // The uid everywhere: the pod of a StatefulSet may be another one of the same name by now.
    match next(&pod, context.treatment(&pod), context.clock.now()) {
        Step::Wait => {}
        Step::Bind => {
            if !volumes_bound(&pod, &namespace, &context).await? {
                return Ok(Action::requeue(RETRY));
            }
            let binding = json!({
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name, "uid": uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
            });
            let post = PostParams::default();
            unless_outdated(pods.create_subresource::<_, Value>("binding", &name, &post, &binding).await)?;
        }
        Step::Delete => {
            let this = Preconditions { uid: Some(uid), ..Preconditions::default() };
            let now = DeleteParams::default().grace_period(0).preconditions(this);
            unless_outdated(pods.delete(&name, &now).await)?;
        }
        Step::Report(status) => {
            let patch = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}));
            unless_outdated(pods.patch_status(&name, &PatchParams::default(), &patch).await)?;
        }
    }
    Ok(Action::await_change())
}

/// A scheduler binds no pod whose volumes are missing.
async fn volumes_bound(pod: &Pod, namespace: &str, context: &Context) -> Result<bool, kube::Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for claim in volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref()) {
        let status = claims.get_opt(&claim.claim_name).await?.and_then(|claim| claim.status);
        if status.and_then(|status| status.phase).as_deref() != Some("Bound") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn next(pod: &Pod, treatment: Option<Treatment>, now: Timestamp) -> Step {
    let Some(spec) = &pod.spec else { return Step::Wait };
    let ours = spec.node_name.as_deref() == Some(NODE);
    if pod.metadata.deletion_timestamp.is_some() {
        // With no grace left, only finalizers keep it, and they are not ours.
        let last = pod.metadata.deletion_grace_period_seconds == Some(0);
        return if ours && !last { Step::Delete } else { Step::Wait };
    }
    match (ours, treatment) {
        (_, Some(Treatment::Hold)) => Step::Wait,
        (false, _) if spec.node_name.is_none() => Step::Bind,
        (false, _) => Step::Wait,
        (true, treatment) => {
            let outcome = outcome(pod, spec, treatment == Some(Treatment::Fail));
            if ended(pod) || reached(pod, outcome) {
                Step::Wait
            } else {
                Step::Report(status(pod, spec, outcome, now))
            }
        }
    }
}

fn outcome(pod: &Pod, spec: &PodSpec, fails: bool) -> Outcome {
    let of_a_job = pod.owner_references().iter().any(|owner| owner.kind == "Job");
    let restarts = spec.restart_policy.as_deref() != Some("Never");
    match (fails, restarts) {
        (true, true) => Outcome::Crashing,
        (true, false) => Outcome::Failed,
        (false, _) if of_a_job => Outcome::Succeeded,
        (false, _) => Outcome::Ready,
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod's status says so already.
fn reached(pod: &Pod, outcome: Outcome) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.filter(|condition| condition.type_ == "Ready").any(|ready| ready.status == "True");
    match outcome {
        Outcome::Ready => phase(pod) == "Running" && ready,
        Outcome::Crashing => phase(pod) == "Running" && !ready,
        Outcome::Succeeded | Outcome::Failed => false,
    }
}

fn status(pod: &Pod, spec: &PodSpec, outcome: Outcome, now: Timestamp) -> Value {
    let now = now.to_string();
    let (phase, ready, reason) = match outcome {
        Outcome::Ready => ("Running", "True", Value::Null),
        Outcome::Crashing => ("Running", "False", "ContainersNotReady".into()),
        Outcome::Succeeded => ("Succeeded", "False", "PodCompleted".into()),
        Outcome::Failed => ("Failed", "False", "PodFailed".into()),
    };
    let condition = |name: &str, status: &str, reason: &Value| json!({"type": name, "status": status, "reason": reason, "lastTransitionTime": now});
    let old = pod.status.clone().unwrap_or_default();
    let main = old.container_statuses.unwrap_or_default();
    let initial = old.init_container_statuses.unwrap_or_default();
    let address = address(pod);
    json!({
        "phase": phase,
        "startTime": now,
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            condition("PodReadyToStartContainers", "True", &Value::Null),
            condition("Initialized", "True", &Value::Null),
            condition("ContainersReady", ready, &reason),
            condition("Ready", ready, &reason),
        ],
        "initContainerStatuses": spec
            .init_containers
            .iter()
            .flatten()
            .map(|container| {
                // Those with a restart policy of their own run beside the others; the rest is done.
                let beside = container.restart_policy.is_some();
                container_status(container, &initial, if beside { outcome } else { Outcome::Succeeded }, &now)
            })
            .collect::<Vec<_>>(),
        "containerStatuses": spec
            .containers
            .iter()
            .map(|container| container_status(container, &main, outcome, &now))
            .collect::<Vec<_>>(),
    })
}

fn container_status(container: &Container, old: &[ContainerStatus], outcome: Outcome, now: &str) -> Value {
    let restarts = old.iter().find(|old| old.name == container.name).map_or(0, |old| old.restart_count);
    let ended = |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}});
    let (runs, state) = match outcome {
        Outcome::Ready => (true, json!({"running": {"startedAt": now}})),
        Outcome::Crashing => (false, json!({"waiting": {"reason": "CrashLoopBackOff"}})),
        Outcome::Succeeded => (false, ended(0, "Completed")),
        Outcome::Failed => (false, ended(1, "Error")),
    };
    let crashing = outcome == Outcome::Crashing;
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": runs,
        "started": runs,
        "restartCount": restarts + i32::from(crashing),
        "state": state,
        "lastState": if crashing { ended(1, "Error") } else { json!({}) },
    })
}

/// The same at each call: of the uid's first digits, which are random.
fn address(pod: &Pod) -> Ipv4Addr {
    let uid = pod.uid().unwrap_or_default();
    let digits = uid.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
    Ipv4Addr::from(u32::from(FIRST_POD) | (digits & ((1 << POD_BITS) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn pod(metadata: &Value, spec: &Value, status: &Value) -> Pod {
        let mut pod = json!({"metadata": metadata, "spec": spec, "status": status});
        pod["metadata"]["uid"] = "ffffffff-0000-4000-8000-000000000000".into();
        pod["spec"]["containers"] = json!([{"name": "a", "image": "i"}]);
        serde_json::from_value(pod).unwrap()
    }

    fn phase_after(step: Step) -> String {
        match step {
            Step::Report(status) => status["phase"].as_str().unwrap().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_is_bound_then_ready_unless_it_is_held() {
        let new = pod(&json!({}), &json!({}), &json!({"phase": "Pending"}));
        assert_eq!(next(&new, None, NOW), Step::Bind);
        assert_eq!(next(&new, Some(Treatment::Hold), NOW), Step::Wait);
        let bound = pod(&json!({}), &json!({"nodeName": NODE}), &json!({"phase": "Pending"}));
        assert_eq!(next(&bound, Some(Treatment::Hold), NOW), Step::Wait);
        let Step::Report(status) = next(&bound, None, NOW) else { panic!("nothing is reported") };
        assert_eq!(status["podIP"], "10.255.255.255");
        let ready = pod(&json!({}), &json!({"nodeName": NODE}), &status);
        assert_eq!(next(&ready, None, NOW), Step::Wait);
        let elsewhere = pod(&json!({}), &json!({"nodeName": "other"}), &json!({"phase": "Pending"}));
        assert_eq!(next(&elsewhere, None, NOW), Step::Wait);
    }

    #[test]
    fn pods_of_jobs_end_and_failing_ones_crash_or_fail() {
        let check = |owner: &str, restart: &str, treatment, expected: &str| {
            let owner = json!([{"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u"}]);
            let spec = json!({"nodeName": NODE, "restartPolicy": restart});
            let bound = pod(&json!({"ownerReferences": owner}), &spec, &json!({"phase": "Pending"}));
            assert_eq!(phase_after(next(&bound, treatment, NOW)), expected, "{restart} {treatment:?}");
        };
        check("Job", "Never", None, "Succeeded");
        check("Job", "OnFailure", None, "Succeeded");
        check("ReplicaSet", "Always", None, "Running");
        check("Job", "Never", Some(Treatment::Fail), "Failed");
        check("Job", "OnFailure", Some(Treatment::Fail), "Running");
        check("ReplicaSet", "Always", Some(Treatment::Fail), "Running");
    }

    #[test]
    fn a_crashing_pod_restarts_once_a_crash_and_recovers() {
        let bound = pod(&json!({}), &json!({"nodeName": NODE}), &json!({"phase": "Pending"}));
        let Step::Report(crashed) = next(&bound, Some(Treatment::Fail), NOW) else { panic!("no crash") };
        assert_eq!(crashed["containerStatuses"][0]["restartCount"], 1);
        let crashing = pod(&json!({}), &json!({"nodeName": NODE}), &crashed);
        assert_eq!(next(&crashing, Some(Treatment::Fail), NOW), Step::Wait);
        let Step::Report(ready) = next(&crashing, None, NOW) else { panic!("no recovery") };
        assert_eq!(ready["containerStatuses"][0]["restartCount"], 1);
        assert_eq!(ready["containerStatuses"][0]["ready"], true);
    }

    #[test]
    fn a_deleted_pod_is_ended_once() {
        let deleted = |node: &str, grace: i64| {
            let metadata = json!({
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": grace,
            });
            next(&pod(&metadata, &json!({"nodeName": node}), &json!({"phase": "Running"})), None, NOW)
        };
        assert_eq!(deleted(NODE, 30), Step::Delete);
        assert_eq!(deleted(NODE, 0), Step::Wait);
        assert_eq!(deleted("other", 30), Step::Wait);
    }
}
