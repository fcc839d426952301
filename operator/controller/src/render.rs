//! Every object that a set of manifests would lead to, without a cluster.

use kube::ResourceExt;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, NetworkPolicySet, NetworkPolicySetSpec, PolicyMode};
use openarchive_operator_netpol::build as build_policies;
use serde_json::Value;

use crate::{
    Halt, Reason, Settings,
    agents::render as build_agent,
    archive::{
        build::{Ground, build, facts},
        one_set, validate,
    },
};

/// Stands where the cluster puts an object's uid: owner references are left out of what is rendered.
pub(crate) const NO_UID: &str = "00000000-0000-0000-0000-000000000000";
/// Stands where a certificate's fingerprint is not known yet.
const NOT_ISSUED: &str = "issued-in-the-cluster";

/// The objects of `archive`, network policies included, in the order in which they are applied. Secrets are not among them:
/// certificates and keys are made in the cluster.
pub fn render(
    archive: &ArchiveCore,
    sets: &[NetworkPolicySet],
    agents: &[EdgeAgent],
    settings: &Settings,
) -> Result<Vec<Value>, Halt> {
    let archive = as_in_a_cluster(archive);
    let name = archive.name_any();
    let sets: Vec<_> = sets.iter().filter(|set| set.spec.archive_ref.name == name).collect();
    let names: Vec<_> = sets.iter().map(|set| set.name_any()).collect();
    one_set(&names)?;
    let valid = validate(&archive, &names)?;
    let ground = Ground {
        image_registry: settings.image_registry.clone(),
        agents_ca: NOT_ISSUED.to_owned(),
        secrets: Vec::new(),
        volume: None,
    };
    let unwritable = |error: serde_json::Error| Halt::terminal(Reason::InvalidSpec, error.to_string());
    let mut rendered = build(&valid, &ground).values().map_err(unwritable)?;
    let agents: Vec<_> = agents.iter().filter(|agent| agent.spec.archive_ref.name == name).cloned().collect();
    for agent in &agents {
        rendered.extend(build_agent(agent, &valid, &settings.image_registry)?.values().map_err(unwritable)?);
    }
    let default = NetworkPolicySetSpec::default();
    let spec = sets.first().map_or(&default, |set| &set.spec);
    if spec.mode == PolicyMode::Enforce {
        let policies = build_policies(&facts(&valid, spec, &agents, None, settings)?);
        for policy in policies {
            rendered.push(serde_json::to_value(policy).map_err(unwritable)?);
        }
    }
    for object in &mut rendered {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("ownerReferences");
        }
    }
    Ok(rendered)
}

/// With what an object has that was read from a cluster.
pub(crate) fn as_in_a_cluster(archive: &ArchiveCore) -> ArchiveCore {
    let mut archive = archive.clone();
    archive.metadata.uid.get_or_insert_with(|| NO_UID.to_owned());
    archive.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    archive
}
