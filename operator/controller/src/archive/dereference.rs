//! Reads what an archive refers to, and what refers to it.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp as Instant};
use kube::{Api, ResourceExt, api::ListParams};
use openarchive_domain::Timestamp;
use openarchive_operator_api::{
    ANNOTATION_ROTATE_CA, ArchiveCore, EdgeAgent, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_NAME,
    NetworkPolicySet, PART_OF, Placement, RetentionPolicy,
};

use super::{
    audit::{Referring, edge_agents},
    certificates::Running,
};
use crate::{
    Context, Halt,
    guard::list_referring,
    objects::{self, Objects},
};

/// The cluster around one archive, of the moment.
pub(crate) struct World {
    pub live: Objects,
    /// The NetworkPolicySets that refer to the archive and that it does not own.
    pub network_policy_sets: Vec<NetworkPolicySet>,
    pub policies: Vec<RetentionPolicy>,
    /// For whom network policies are built.
    pub agents_in_cluster: Vec<EdgeAgent>,
    /// As the specifications of its agents enter a snapshot: there may be ten thousand of them.
    pub agents: Vec<Referring>,
    pub running: Running,
}

pub(crate) async fn dereference(context: &Context, archive: &ArchiveCore) -> Result<World, Halt> {
    let name = archive.name_any();
    let namespace = archive.namespace().unwrap_or_default();
    let client = &context.client;
    // First what people write: while some of it cannot be read, nothing of the archive is changed.
    let sets: Vec<NetworkPolicySet> = list_referring(client, &namespace, &name).await?;
    // Also of an archive of this name that was there before, and whose objects are on their way out.
    let is_own =
        |set: &NetworkPolicySet| set.owner_references().iter().any(|owner| owner.kind == "ArchiveCore");
    let is_written = |set: &NetworkPolicySet| !is_own(set) && set.metadata.deletion_timestamp.is_none();
    let mut policies: Vec<RetentionPolicy> = list_referring(client, &namespace, &name).await?;
    policies.retain(|policy| policy.metadata.deletion_timestamp.is_none());
    policies.sort_by_key(ResourceExt::name_any);
    let (listening_agents, agents_in_cluster, agents) = {
        let mut agents: Vec<EdgeAgent> = list_referring(client, &namespace, &name).await?;
        agents.sort_by_key(ResourceExt::name_any);
        let listening = agents.iter().filter(|agent| shows_ours(agent)).map(ResourceExt::name_any);
        let listening = listening.collect();
        let specified = edge_agents(&namespace, &name, &agents)?;
        agents.retain(|agent| agent.spec.placement == Placement::InCluster);
        (listening, agents, specified)
    };
    Ok(World {
        live: objects::find(client, &namespace, &name).await?,
        network_policy_sets: sets.into_iter().filter(is_written).collect(),
        policies,
        agents_in_cluster,
        agents,
        running: running(context, archive, listening_agents).await?,
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
