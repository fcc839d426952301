//! Brings an agent's objects to what was built.

use kube::ResourceExt;
use openarchive_operator_api::EdgeAgent;
use openarchive_telemetry::metrics;

use crate::{
    Context, Halt, Reason,
    apply::{Applied, Drift, apply},
    archive::ValidArchive,
    objects::Objects,
    prune::prune,
};

/// Applies `built`, removes what is built no longer, tells what somebody else had changed. With `is_held` the StatefulSet stays
/// as it is. Answers the objects as they stand.
pub(super) async fn bring(
    context: &Context,
    agent: &EdgeAgent,
    archive: &ValidArchive,
    built: &Objects,
    live: &Objects,
    is_held: bool,
) -> Result<Objects, Halt> {
    let (namespace, name) = (&*archive.namespace, &*archive.name);
    let mut drifts = Vec::new();
    let now = Objects {
        service_accounts: take(
            &mut drifts,
            apply(context, namespace, name, &built.service_accounts, &live.service_accounts).await?,
        ),
        // A configuration fits its pod: both change together.
        config_maps: if is_held && !live.stateful_sets.is_empty() {
            live.config_maps.clone()
        } else {
            take(&mut drifts, apply(context, namespace, name, &built.config_maps, &live.config_maps).await?)
        },
        secrets: take(&mut drifts, apply(context, namespace, name, &built.secrets, &live.secrets).await?),
        services: take(&mut drifts, apply(context, namespace, name, &built.services, &live.services).await?),
        stateful_sets: if is_held {
            live.stateful_sets.clone()
        } else {
            take(
                &mut drifts,
                apply(context, namespace, name, &built.stateful_sets, &live.stateful_sets).await?,
            )
        },
        ..Objects::default()
    };
    for Drift { kind, name, manager } in drifts {
        metrics::OPERATOR_DRIFTS.inc([kind]);
        let note = format!("{kind} {name} was changed by {manager} and is as built again");
        tracing::warn!(
            agent = agent.name_any(),
            kind,
            object = name,
            manager,
            "somebody else's change is undone"
        );
        context.tell(agent, Reason::DriftCorrected, "Correct", note).await;
    }
    prune(context, namespace, built, live).await?;
    Ok(now)
}

fn take<K>(drifts: &mut Vec<Drift>, applied: Applied<K>) -> Vec<K> {
    drifts.extend(applied.drifts);
    applied.objects
}
