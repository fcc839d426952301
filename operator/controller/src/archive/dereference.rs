//! Reads what an archive refers to, and what refers to it.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp as Instant};
use kube::{Api, ResourceExt, api::ListParams};
use openarchive_domain::Timestamp;
use openarchive_operator_api::{
    ANNOTATION_ROTATE_CA, ArchiveCore, EdgeAgent, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_NAME,
    NetworkPolicySet, PART_OF, RetentionPolicy,
};

use super::certificates::Running;
use crate::{
    Context, Halt,
    objects::{self, Objects, list},
};

/// The cluster around one archive, of the moment.
pub(crate) struct World {
    pub live: Objects,
    /// The NetworkPolicySets that refer to the archive and that it does not own.
    pub network_policy_sets: Vec<NetworkPolicySet>,
    pub policies: Vec<RetentionPolicy>,
    pub running: Running,
}

pub(crate) async fn dereference(context: &Context, archive: &ArchiveCore) -> Result<World, Halt> {
    let name = archive.name_any();
    let namespace = archive.namespace().unwrap_or_default();
    let client = &context.client;
    let live = objects::find(client, &namespace, &name).await?;
    // Also of an archive of this name that was there before, and whose objects are on their way out.
    let is_own =
        |set: &NetworkPolicySet| set.owner_references().iter().any(|owner| owner.kind == "ArchiveCore");
    let sets: Vec<NetworkPolicySet> = list(client, &namespace, "").await?;
    let is_written = |set: &NetworkPolicySet| !is_own(set) && set.metadata.deletion_timestamp.is_none();
    let sets = sets.into_iter().filter(|set| set.spec.archive_ref.name == name && is_written(set));
    let policies: Vec<RetentionPolicy> = list(client, &namespace, "").await?;
    let of_archive = |reference: &str, deleted: bool| reference == name && !deleted;
    let agents: Vec<EdgeAgent> = list(client, &namespace, "").await?;
    let agents = agents.iter().filter(|agent| agent.spec.archive_ref.name == name && shows_ours(agent));
    let mut listening_agents: Vec<_> = agents.map(ResourceExt::name_any).collect();
    listening_agents.sort();
    let mut policies: Vec<_> = policies
        .into_iter()
        .filter(|policy| {
            of_archive(&policy.spec.archive_ref.name, policy.metadata.deletion_timestamp.is_some())
        })
        .collect();
    policies.sort_by_key(ResourceExt::name_any);
    Ok(World {
        network_policy_sets: sets.collect(),
        running: running(context, archive, listening_agents).await?,
        live,
        policies,
    })
}

/// On pods that sign agents' certificates: the intermediate with which they started.
pub(crate) const ANNOTATION_AGENTS_CA: &str = "openarchive.dev/agents-ca";

/// Whether a listener of the agent asks for TLS without a certificate of its own. Also while it goes: it still sends on what
/// it holds.
fn shows_ours(agent: &EdgeAgent) -> bool {
    let mut listeners = agent.spec.listeners.iter().flatten();
    listeners.any(|listener| listener.start_tls.as_ref().is_some_and(|tls| tls.secret_ref.is_none()))
}

async fn running(
    context: &Context,
    archive: &ArchiveCore,
    listening_agents: Vec<String>,
) -> Result<Running, Halt> {
    let name = archive.name_any();
    let namespace = archive.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let selector = format!("{LABEL_NAME}={PART_OF},{LABEL_INSTANCE}={name},{LABEL_COMPONENT} in (all,trust)");
    let pods = api.list(&ListParams::default().labels(&selector)).await;
    let pods = pods.map_err(|error| Halt::kubernetes("list pods of trust", error))?.items;
    Ok(Running {
        // Agents enrol without an EdgeAgent, so nobody here can know that there is none.
        has_agents: true,
        trust_signs_with: signs_with(&pods),
        request: archive.annotations().get(ANNOTATION_ROTATE_CA).cloned(),
        listening_agents,
    })
}

/// `None` while the pods differ, or none runs.
fn signs_with(pods: &[Pod]) -> Option<(openarchive_domain::Digest, Timestamp)> {
    // One that has ended, or was evicted, signs nothing.
    let pods: Vec<_> = pods.iter().filter(|pod| phase(pod) == Some("Running")).collect();
    let mut since = None;
    let first = pods.first()?.annotations().get(ANNOTATION_AGENTS_CA)?;
    for pod in pods {
        if pod.annotations().get(ANNOTATION_AGENTS_CA) != Some(first) {
            return None;
        }
        let started: Instant = pod.status.as_ref()?.start_time.as_ref()?.0;
        since = since.max(Some(started.as_millisecond()));
    }
    Some((first.parse().ok()?, Timestamp::from_millis(since?)))
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}
