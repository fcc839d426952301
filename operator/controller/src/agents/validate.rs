//! Turns an agent, and the archive that it names, into an agent that cannot be wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use openarchive_domain::AgentRef;
use openarchive_operator_api::{BufferSpec, EdgeAgent, ListenerSpec, Placement};

use crate::{Halt, Reason, archive::ValidArchive, drift::quantity};

/// An agent whose objects can be built without a further question.
#[derive(Debug, Clone)]
pub(super) struct ValidAgent {
    pub(super) name: String,
    pub(super) owner: OwnerReference,
    /// As the archive knows it.
    pub(super) identity: AgentRef,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    InCluster { listeners: Vec<ListenerSpec>, buffer: BufferSpec, high_water_bytes: u64 },
    External,
}

pub(super) fn validate(agent: &EdgeAgent, archive: &ValidArchive) -> Result<ValidAgent, Halt> {
    let invalid = |message: String| Halt::terminal(Reason::InvalidSpec, message);
    let spec = &agent.spec;
    let name = agent.name_any();
    if !archive.tenants.iter().any(|tenant| tenant.name == spec.tenant) {
        let known: Vec<_> = archive.tenants.iter().map(|tenant| &*tenant.name).collect();
        return Err(invalid(format!(
            "archive {} has no tenant {}, only {}: add it there, or make an EdgeAgent for one of these",
            archive.name,
            spec.tenant,
            known.join(", ")
        )));
    }
    let owner = agent.controller_owner_ref(&());
    let owner =
        owner.ok_or_else(|| invalid("the object has no uid: it was not read from a cluster".to_owned()))?;
    let identity = format!("{}/{name}", spec.tenant).parse();
    let identity = identity
        .map_err(|error| invalid(format!("an agent cannot be called {}/{name}: {error}", spec.tenant)))?;
    let place = match (spec.placement, &spec.listeners, &spec.buffer) {
        (Placement::External, ..) => Place::External,
        (Placement::InCluster, Some(listeners), Some(buffer)) => Place::InCluster {
            listeners: listeners.clone(),
            buffer: buffer.clone(),
            high_water_bytes: bytes(&buffer.high_water).ok_or_else(|| {
                invalid("spec.buffer.highWater: write a number of bytes such as 15Gi".to_owned())
            })?,
        },
        (Placement::InCluster, ..) => {
            return Err(invalid("placement InCluster needs listeners and buffer".to_owned()));
        }
    };
    Ok(ValidAgent { name, owner, identity, place })
}

/// Whole bytes of a quantity; `None` for none at all, and for what is no quantity.
fn bytes(text: &str) -> Option<u64> {
    let thousandths = quantity(text)?;
    u64::try_from(thousandths / 1_000).ok().filter(|bytes| *bytes > 0)
}
