use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};
use openarchive_operator_api::{
    ArchiveCore, ConditionType, Conditions, EdgeAgent, Enforcement, LABEL_INSTANCE, LABEL_NAME,
    NetworkPolicySet, NetworkPolicySetStatus, PART_OF, PolicyMode,
};
use openarchive_operator_netpol::{Facts, build, fingerprints, graph_hash};
use openarchive_telemetry::metrics;

use super::{
    ask::ask,
    status::{Observed, status},
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    apply::apply,
    archive::{ValidArchive, build::facts, validate},
    guard::list_referring,
    objects::{list, selector},
    prune::prune_kind,
    status_writer::write_status,
    told::{tell_drifts, tell_ready},
};

/// While it is not known that the policies are enforced, or known that they are not.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// One pass. The status is written at its end, also when it fails.
pub(crate) async fn reconcile(set: Arc<NetworkPolicySet>, context: Arc<Context>) -> Result<Duration, Halt> {
    if set.meta().deletion_timestamp.is_some() {
        // The policies have the set as their owner and go with it; the archive then makes a set of its own.
        return Ok(RESYNC_AFTER);
    }
    let mut observed = Observed::default();
    let outcome = pass(&context, &set, &mut observed).await;
    let (halt, now) = (outcome.as_ref().err(), context.now());
    let after = |old: &NetworkPolicySetStatus| {
        status(old, set.metadata.generation, set.spec.mode, &observed, halt, now)
    };
    let mut before = set.status.clone();
    if before.as_ref().is_some_and(|before| *before != after(before)) {
        before = newest_status(&context, &set).await;
    }
    let old = before.clone().unwrap_or_default();
    let new = after(&old);
    if write_status(&context, &*set, before.as_ref(), &new).await? {
        tell_ready(&context, &*set, &old.conditions, &new.conditions).await;
        tell_not_enforced(&context, &set, &old, &new).await;
    }
    outcome
}

/// The status as it stands, where what the cache has may be older than the pass before: a correction counted then would be lost.
async fn newest_status(context: &Context, set: &NetworkPolicySet) -> Option<NetworkPolicySetStatus> {
    let api: Api<NetworkPolicySet> =
        Api::namespaced(context.client.clone(), &set.namespace().unwrap_or_default());
    match api.get_opt(&set.name_any()).await {
        Ok(Some(newest)) if newest.uid() == set.uid() => newest.status,
        Ok(_) => set.status.clone(),
        Err(error) => {
            tracing::warn!(set = set.name_any(), %error, "its newest status cannot be read");
            set.status.clone()
        }
    }
}

/// An event when the verdict turns to `NotEnforced`, and none while it stays.
async fn tell_not_enforced(
    context: &Context,
    set: &NetworkPolicySet,
    old: &NetworkPolicySetStatus,
    new: &NetworkPolicySetStatus,
) {
    let is_so = |status: &NetworkPolicySetStatus| {
        status.enforcement.as_ref().is_some_and(|it| it.verdict == Enforcement::NotEnforced)
    };
    if is_so(new) && !is_so(old) {
        let condition = new.conditions.of_type(ConditionType::EnforcementVerified);
        let note = condition.map(|condition| condition.message.clone()).unwrap_or_default();
        context.tell(set, Reason::NotEnforced, "Probe", note).await;
    }
}

/// Answers when to look again.
async fn pass(context: &Context, set: &NetworkPolicySet, observed: &mut Observed) -> Result<Duration, Halt> {
    let namespace = set.namespace().unwrap_or_default();
    give_way(context, set, &namespace).await?;
    let specified = archive_of(context, set, &namespace).await?;
    if specified.spec.operation.paused {
        // Left alone, not unwatched: whether anything gets through is asked all the same.
        if let Ok(archive) = validate(&specified, &[]) {
            judge(context, &archive, set, observed).await;
        }
        let name = specified.name_any();
        let message = format!("archive {name} to go on: its spec.operation.paused is true");
        return Err(Halt::waiting(Reason::Paused, message, RESYNC_AFTER));
    }
    let archive = validate(&specified, &[])?;
    let facts = facts_of(context, set, &specified, &archive).await?;
    let mut policies = build(&facts);
    for policy in &mut policies {
        policy.metadata.owner_references = set.controller_owner_ref(&()).map(|owner| vec![owner]);
    }
    let live: Vec<NetworkPolicy> = list(&context.client, &namespace, &selector(&archive.name)).await?;
    let pods = pods(context, &archive).await?;
    match set.spec.mode {
        PolicyMode::Enforce => {
            let applied = apply(context, &namespace, &archive.name, &spelled_out(&policies), &live).await?;
            let applied = applied.with_remade(&live, |name| stood(set, name));
            tell_drifts(context, set, &applied.drifts).await;
            observed.live = applied.objects;
            observed.written = applied.written;
            observed.drifts = applied.drifts;
            prune_kind(context, &namespace, &policies, &live).await?;
        }
        // Nothing is written, nothing is removed: what was enforced before stays until somebody deletes it.
        PolicyMode::Audit => {}
    }
    let standing = match set.spec.mode {
        PolicyMode::Enforce => &observed.live,
        PolicyMode::Audit => &live,
    };
    observed.uncovered_pods = uncovered(&pods, standing);
    let no_hash =
        |error: openarchive_ledger::jcs::JcsError| Halt::terminal(Reason::InvalidSpec, error.to_string());
    observed.fingerprints = fingerprints(&policies).map_err(no_hash)?;
    observed.graph_hash = Some(graph_hash(&policies).map_err(no_hash)?);
    let verdict = judge(context, &archive, set, observed).await;
    Ok(if verdict == Enforcement::Verified || archive.stopped { RESYNC_AFTER } else { ASK_AGAIN_AFTER })
}

/// What the archive's probers say.
async fn judge(
    context: &Context,
    archive: &ValidArchive,
    set: &NetworkPolicySet,
    observed: &mut Observed,
) -> Enforcement {
    let answer = ask(context, archive).await;
    let verdict = answer.verdict;
    observed.enforcement = Some(answer);
    // In mode Audit it is known beforehand, and nobody is to be woken for it.
    let alarms = verdict == Enforcement::NotEnforced && set.spec.mode == PolicyMode::Enforce;
    let key = format!("{}/{}", archive.namespace, archive.name);
    metrics::OPERATOR_NOT_ENFORCED.set([&key], f64::from(alarms));
    verdict
}

/// Whether the policy of that name stood at the end of the pass before.
fn stood(set: &NetworkPolicySet, name: &str) -> bool {
    let policies = set.status.iter().flat_map(|status| &status.policies);
    policies.into_iter().any(|policy| policy.name == name && policy.uid.is_some())
}

/// With empty lists instead of none: what is not said nobody owns, and a rule that somebody adds there would stay.
fn spelled_out(policies: &[NetworkPolicy]) -> Vec<NetworkPolicy> {
    let mut policies = policies.to_vec();
    for spec in policies.iter_mut().filter_map(|policy| policy.spec.as_mut()) {
        spec.ingress.get_or_insert_default();
        spec.egress.get_or_insert_default();
    }
    policies
}

/// The set that an archive made for itself gives way to one that somebody wrote, and its archive removes it; two of those are
/// nobody's.
async fn give_way(context: &Context, set: &NetworkPolicySet, namespace: &str) -> Result<(), Halt> {
    let name = &set.spec.archive_ref.name;
    let sets: Vec<NetworkPolicySet> = list_referring(&context.client, namespace, name).await?;
    let is_own =
        |set: &NetworkPolicySet| set.owner_references().iter().any(|owner| owner.kind == "ArchiveCore");
    let others =
        sets.iter().filter(|other| other.uid() != set.uid() && other.meta().deletion_timestamp.is_none());
    let written: Vec<_> = others.filter(|other| !is_own(other)).map(ResourceExt::name_any).collect();
    if written.is_empty() {
        return Ok(());
    }
    let written = written.join(", ");
    if is_own(set) {
        let message = format!("gives way to {written}, which refers to archive {name}, and will be removed");
        return Err(Halt::waiting(Reason::Progressing, message, RESYNC_AFTER));
    }
    let message = format!("{written} refers to archive {name}, too: keep one NetworkPolicySet");
    Err(Halt::terminal(Reason::InvalidSpec, message))
}

async fn archive_of(context: &Context, set: &NetworkPolicySet, namespace: &str) -> Result<ArchiveCore, Halt> {
    let name = &set.spec.archive_ref.name;
    let api: Api<ArchiveCore> = Api::namespaced(context.client.clone(), namespace);
    let archive = api
        .get_opt(name)
        .await
        .map_err(|error| Halt::kubernetes(format!("get ArchiveCore {name}"), error))?;
    archive.ok_or_else(|| {
        let message = format!(
            "there is no ArchiveCore {name} in namespace {namespace}: make it, or correct archiveRef"
        );
        Halt::terminal(Reason::ReferenceNotFound, message)
    })
}

async fn facts_of(
    context: &Context,
    set: &NetworkPolicySet,
    specified: &ArchiveCore,
    archive: &ValidArchive,
) -> Result<Facts, Halt> {
    let namespace = &archive.namespace;
    let agents: Vec<EdgeAgent> = list_referring(&context.client, namespace, &archive.name).await?;
    let url = match &specified.spec.database {
        Some(database) => database_url(context, namespace, &database.admin_secret_ref.name).await?,
        None => None,
    };
    facts(archive, &set.spec, &agents, url.as_deref(), &context.settings)
}

/// The URL of the owner of an archive's database, as its Secret has it.
pub(crate) async fn database_url(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, Halt> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret =
        api.get_opt(name).await.map_err(|error| Halt::kubernetes(format!("get Secret {name}"), error))?;
    let url = secret.and_then(|secret| secret.data?.remove("url"));
    Ok(url.and_then(|url| String::from_utf8(url.0).ok()))
}

/// Of the archive and of its agents.
async fn pods(context: &Context, archive: &ValidArchive) -> Result<Vec<PartialObjectMeta<Pod>>, Halt> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &archive.namespace);
    let labels = format!("{LABEL_NAME}={PART_OF},{LABEL_INSTANCE}={}", archive.name);
    let pods = api.list_metadata(&ListParams::default().labels(&labels)).await;
    Ok(pods.map_err(|error| Halt::kubernetes("list pods", error))?.items)
}

/// Pods that none of `policies` selects, which are those that stand: nothing protects them.
fn uncovered(pods: &[PartialObjectMeta<Pod>], policies: &[NetworkPolicy]) -> Vec<String> {
    let is_selected = |pod: &PartialObjectMeta<Pod>| {
        policies.iter().filter_map(|policy| policy.spec.as_ref()?.pod_selector.as_ref()).any(|selector| {
            selector.match_labels.iter().flatten().all(|(key, value)| pod.labels().get(key) == Some(value))
                && selector.match_expressions.is_none()
        })
    };
    let mut names: Vec<_> = pods.iter().filter(|pod| !is_selected(pod)).map(ResourceExt::name_any).collect();
    names.sort();
    names
}
