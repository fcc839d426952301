//! Turns a specification, and what it refers to, into an archive that cannot be wrong.

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt};
use openarchive_domain::RetentionClass;
use openarchive_operator_api::{
    ArchiveCore, DatabaseSpec, ExposureSpec, ObjectStoreSpec, Profile, SearchSpec, ServiceSpec, ServicesSpec,
    StandaloneSpec, TenantSpec,
};
use openarchive_topology::Role;

use crate::{Halt, Reason};

/// An archive whose objects can be built without a further question.
#[derive(Debug, Clone)]
pub(crate) struct ValidArchive {
    pub name: String,
    pub namespace: String,
    pub owner: OwnerReference,
    pub domain: String,
    pub tenants: Vec<TenantSpec>,
    pub default_class: RetentionClass,
    pub version: String,
    pub stopped: bool,
    pub exposure: ExposureSpec,
    pub shape: Shape,
    /// The set that refers to this archive; without one the archive owns a set.
    pub network_policy_set: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Standalone(StandaloneSpec),
    Distributed(Box<Distributed>),
}

#[derive(Debug, Clone)]
pub(crate) struct Distributed {
    pub services: Vec<(Role, Sized)>,
    pub database: DatabaseSpec,
    pub object_store: ObjectStoreSpec,
    pub search: Option<SearchSpec>,
}

/// Replicas and resources of one service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sized {
    pub replicas: i32,
    pub resources: Option<ResourceRequirements>,
}

/// The services of profile Distributed, in the order in which they start.
pub(crate) const START_ORDER: [Role; 6] =
    [Role::Trust, Role::Storage, Role::Index, Role::Ingest, Role::Worker, Role::Gateway];

/// Of several sets nobody can tell which one counts.
pub(crate) fn one_set(network_policy_sets: &[String]) -> Result<(), Halt> {
    if network_policy_sets.len() < 2 {
        return Ok(());
    }
    let names = network_policy_sets.join(", ");
    let message = format!("several NetworkPolicySets refer to this archive ({names}): keep one");
    Err(Halt::terminal(Reason::InvalidSpec, message))
}

/// Of several sets it takes the first: ask [`one_set`] before anything is built.
pub(crate) fn validate(archive: &ArchiveCore, network_policy_sets: &[String]) -> Result<ValidArchive, Halt> {
    let spec = &archive.spec;
    let invalid = |message: String| Halt::terminal(Reason::InvalidSpec, message);
    let owner = archive
        .controller_owner_ref(&())
        .ok_or_else(|| invalid("the object has no uid: it was not read from a cluster".to_owned()))?;
    let default_class = spec
        .retention
        .default
        .parse()
        .map_err(|error| invalid(format!("spec.retention.default: {error}")))?;
    Ok(ValidArchive {
        name: archive.name_any(),
        namespace: archive.namespace().unwrap_or_default(),
        owner,
        domain: spec.domain.clone(),
        tenants: spec.tenants.clone(),
        default_class,
        version: spec.version.clone(),
        stopped: spec.operation.stopped,
        exposure: spec.exposure.clone(),
        shape: shape(archive)?,
        network_policy_set: network_policy_sets.first().cloned(),
    })
}

fn shape(archive: &ArchiveCore) -> Result<Shape, Halt> {
    let spec = &archive.spec;
    match (spec.profile, &spec.database, &spec.object_store) {
        (Profile::Standalone, _, _) => Ok(Shape::Standalone(spec.standalone.clone().unwrap_or_default())),
        (Profile::Distributed, Some(database), Some(object_store)) => {
            let services = spec.services.clone().unwrap_or_default();
            let services = START_ORDER.into_iter().filter_map(|role| Some((role, sized(role, &services)?)));
            Ok(Shape::Distributed(Box::new(Distributed {
                services: services.collect(),
                database: database.clone(),
                object_store: object_store.clone(),
                search: spec.search.clone(),
            })))
        }
        (Profile::Distributed, _, _) => Err(Halt::terminal(
            Reason::InvalidSpec,
            "profile Distributed needs spec.database and spec.objectStore",
        )),
    }
}

/// `None` for the operator, which is no service of the archive.
fn sized(role: Role, services: &ServicesSpec) -> Option<Sized> {
    let ServicesSpec { ingest, storage, index, trust, gateway, worker } = services;
    let given: &Option<ServiceSpec> = match role {
        Role::Ingest => ingest,
        Role::Storage => storage,
        Role::Index => index,
        Role::Trust => trust,
        Role::Gateway => gateway,
        Role::Worker => worker,
        Role::Operator => return None,
    };
    Some(match given {
        Some(ServiceSpec { replicas, resources }) => {
            Sized { replicas: *replicas, resources: resources.clone() }
        }
        None => Sized { replicas: 1, resources: None },
    })
}
