//! What may be applied now: each service waits until those before it are rolled out and healthy. Pure.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
};
use kube::ResourceExt;
use openarchive_operator_api::LABEL_COMPONENT;
use openarchive_topology::Role;

use crate::{
    apply::was_applied,
    objects::{Objects, named},
};

/// How far one component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub component: String,
    pub desired: i32,
    pub ready: i32,
    pub version: Option<String>,
    /// In words, while it is not there or not ready.
    pub waiting_for: Option<String>,
}

/// Stages of profile Distributed after the migrate Job. What stands in one stage starts together.
const STAGES: [&[Role]; 4] =
    [&[Role::Trust], &[Role::Storage], &[Role::Index], &[Role::Ingest, Role::Worker, Role::Gateway]];

/// What is held back, by component, and for what it waits.
pub(crate) type Held = Vec<(String, String)>;

/// Whether it is one of the archive's services; others are never held back, and nothing waits for them.
pub(crate) fn is_service(deployment: &Deployment) -> bool {
    STAGES.into_iter().flatten().any(|role| component(deployment) == role.name())
}

/// The Deployments that may be applied now. What is held back goes on as it is, if it runs.
pub(crate) fn gate<'a>(built: &'a Objects, live: &Objects) -> (Vec<&'a Deployment>, Held) {
    let mut open: Vec<_> = built.deployments.iter().filter(|one| !is_service(one)).collect();
    let mut held = Held::new();
    let mut blocked = built.jobs.iter().find_map(|job| {
        let live = named(&live.jobs, &job.name_any());
        (!live.is_some_and(is_complete)).then(|| "the database to be migrated".to_owned())
    });
    for stage in STAGES {
        let is_in = |deployment: &&Deployment| stage.iter().any(|role| component(*deployment) == role.name());
        let members: Vec<_> = built.deployments.iter().filter(is_in).collect();
        if let Some(reason) = &blocked {
            held.extend(members.iter().map(|member| (component(*member).to_owned(), reason.clone())));
            continue;
        }
        blocked = members.iter().find_map(|member| {
            let live = named(&live.deployments, &member.name_any());
            let is_ready = live.is_some_and(|live| {
                was_applied(*member, live) && deployment_progress(live).waiting_for.is_none()
            });
            (!is_ready).then(|| format!("{} to be rolled out", component(*member)))
        });
        open.extend(members);
    }
    (open, held)
}

fn component<K: ResourceExt>(object: &K) -> &str {
    object.labels().get(LABEL_COMPONENT).map_or("", String::as_str)
}

fn is_complete(job: &Job) -> bool {
    has_condition(job, "Complete")
}

/// A Job that has given up: a person must look.
pub(crate) fn has_failed(job: &Job) -> bool {
    has_condition(job, "Failed")
}

fn has_condition(job: &Job, type_: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn image_of(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.as_deref()
}

fn version_of(image: Option<&str>) -> Option<String> {
    image?.rsplit_once(':').map(|(_, tag)| tag.to_owned())
}

pub(crate) fn deployment_progress(deployment: &Deployment) -> Progress {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let is_seen = status.observed_generation >= deployment.metadata.generation;
    let is_updated =
        status.updated_replicas.unwrap_or(0) == desired && status.replicas.unwrap_or(0) == desired;
    Progress {
        component: component(deployment).to_owned(),
        desired,
        ready,
        version: version_of(image_of(deployment)),
        waiting_for: waiting(is_seen && is_updated, desired, ready),
    }
}

pub(crate) fn stateful_set_progress(set: &StatefulSet) -> Progress {
    let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let is_seen = status.observed_generation >= set.metadata.generation;
    let is_updated = desired == 0 && status.replicas == 0
        || status.replicas == desired
            && status.update_revision.is_some()
            && (status.updated_replicas == Some(desired)
                || status.current_revision == status.update_revision);
    let image = set.spec.as_ref().and_then(|spec| {
        spec.template
            .spec
            .as_ref()
            .and_then(|pod| pod.containers.first())
            .and_then(|one| one.image.as_deref())
    });
    Progress {
        component: component(set).to_owned(),
        desired,
        ready,
        version: version_of(image),
        waiting_for: waiting(is_seen && is_updated, desired, ready),
    }
}

fn waiting(is_rolled_out: bool, desired: i32, ready: i32) -> Option<String> {
    if !is_rolled_out {
        return Some("its pods to be replaced".to_owned());
    }
    (ready < desired).then(|| format!("{} of {desired} pods to be ready", desired - ready))
}
