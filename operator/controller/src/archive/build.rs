//! What an archive consists of in a cluster. Pure and infallible: a valid archive in, objects out.
//!
//! Architecture invariant: nothing that differs between versions of the operator enters a pod template, so that an upgrade
//! of the operator restarts no pod. `golden/v1alpha1/` holds the templates of this version.

mod config_file;
mod distributed;
mod metadata;
mod network;
pub(crate) mod pod;
mod prober;
mod services;
mod standalone;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Secret};
pub(crate) use metadata::{Names, labels, selector};
pub(crate) use network::facts;
use openarchive_topology::Role;
pub(crate) use prober::address as prober_address;
pub(crate) use standalone::claim;

use super::{ValidArchive, validate::Shape};
use crate::objects::Objects;

/// What building needs beside the archive itself.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// Prefix of images, may be empty.
    pub image_registry: String,
    /// Of the intermediate with which trust signs agents, lowercase hex: another one starts trust anew.
    pub agents_ca: String,
    /// Certificates and keys as they are to stand: read from the cluster, or newly made.
    pub secrets: Vec<Secret>,
    /// Size and class of the volume that is there already: neither is changed in place.
    pub volume: Option<Volume>,
}

/// A claim for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub size: String,
    pub storage_class: Option<String>,
}

/// The claim of a StatefulSet cannot be changed: what is there is kept.
pub(crate) fn volume(set: &StatefulSet) -> Option<Volume> {
    let claim = set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
    let size = claim.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone();
    Some(Volume { size, storage_class: claim.storage_class_name.clone() })
}

/// Component of the one pod of profile Standalone.
pub(crate) const ALL: &str = "all";

/// Every object of the archive.
pub(crate) fn build(archive: &ValidArchive, ground: &Ground) -> Objects {
    let mut objects = match &archive.shape {
        Shape::Standalone(spec) => standalone::build(archive, spec, ground),
        Shape::Distributed(spec) => distributed::build(archive, spec, ground),
    };
    objects.secrets.clone_from(&ground.secrets);
    objects.network_policy_sets.extend(network::own_set(archive));
    prober::add(archive, ground, &mut objects);
    objects
}

/// Where a role of the archive answers inside the cluster: host and port.
pub(crate) fn address(archive: &ValidArchive, role: Role, port: u16) -> (String, u16) {
    let component = match archive.shape {
        Shape::Standalone(_) => ALL,
        Shape::Distributed(_) => role.name(),
    };
    (format!("{}.{}.svc", Names(archive).of(component), archive.namespace), port)
}
