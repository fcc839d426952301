//! Removes what was built once and is built no longer. Never mail: volumes, and Secrets that hold keys, stay.

use kube::{Api, ResourceExt, api::DeleteParams};

use crate::{
    Context, Halt,
    objects::{Kind, Objects, named},
};

/// Names of those that were removed.
pub(crate) async fn prune(
    context: &Context,
    namespace: &str,
    built: &Objects,
    live: &Objects,
) -> Result<Vec<String>, Halt> {
    let Objects {
        service_accounts,
        config_maps,
        secrets: _, // keys and certificates are never pruned: whoever deletes a key deletes mail
        services,
        network_policy_sets,
        jobs,
        stateful_sets,
        deployments,
        disruption_budgets,
    } = live;
    let mut removed = Vec::new();
    let to = &mut removed;
    prune_kind(context, namespace, &built.disruption_budgets, disruption_budgets, to).await?;
    prune_kind(context, namespace, &built.deployments, deployments, to).await?;
    prune_kind(context, namespace, &built.stateful_sets, stateful_sets, to).await?;
    prune_kind(context, namespace, &built.jobs, jobs, to).await?;
    prune_kind(context, namespace, &built.network_policy_sets, network_policy_sets, to).await?;
    prune_kind(context, namespace, &built.services, services, to).await?;
    prune_kind(context, namespace, &built.config_maps, config_maps, to).await?;
    prune_kind(context, namespace, &built.service_accounts, service_accounts, to).await?;
    Ok(removed)
}

/// Objects of one kind that are built no longer; their names are added to `removed`.
pub(crate) async fn prune_kind<K: Kind>(
    context: &Context,
    namespace: &str,
    built: &[K],
    live: &[K],
    removed: &mut Vec<String>,
) -> Result<(), Halt> {
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    for object in live.iter().filter(|object| object.meta().deletion_timestamp.is_none()) {
        let name = object.name_any();
        if named(built, &name).is_some() {
            continue;
        }
        match api.delete(&name, &DeleteParams::background()).await {
            Ok(_) => removed.push(name),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(Halt::kubernetes(format!("delete {} {name}", K::kind(&())), error)),
        }
    }
    Ok(())
}
