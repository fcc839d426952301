//! Everything that belongs to one archive in its namespace: as it was built, or as it was found.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use openarchive_operator_api::{LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, NetworkPolicySet};
use serde::de::DeserializeOwned;

use crate::Halt;

/// Taken apart without `..` wherever every kind counts, so that a new one cannot be forgotten.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Objects {
    pub service_accounts: Vec<ServiceAccount>,
    pub config_maps: Vec<ConfigMap>,
    pub secrets: Vec<Secret>,
    pub services: Vec<Service>,
    pub network_policy_sets: Vec<NetworkPolicySet>,
    pub jobs: Vec<Job>,
    pub stateful_sets: Vec<StatefulSet>,
    pub deployments: Vec<Deployment>,
    pub disruption_budgets: Vec<PodDisruptionBudget>,
}

/// A kind of object that stands in a namespace.
pub(crate) trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + serde::Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Labels of every object that the operator made for the archive `name`.
pub(crate) fn selector(name: &str) -> String {
    format!("{LABEL_INSTANCE}={name},{LABEL_MANAGED_BY}={MANAGED_BY}")
}

/// What the cluster holds of the archive `name`.
pub(crate) async fn find(client: &Client, namespace: &str, name: &str) -> Result<Objects, Halt> {
    let selector = selector(name);
    Ok(Objects {
        service_accounts: list(client, namespace, &selector).await?,
        config_maps: list(client, namespace, &selector).await?,
        secrets: list(client, namespace, &selector).await?,
        services: list(client, namespace, &selector).await?,
        network_policy_sets: list(client, namespace, &selector).await?,
        jobs: list(client, namespace, &selector).await?,
        stateful_sets: list(client, namespace, &selector).await?,
        deployments: list(client, namespace, &selector).await?,
        disruption_budgets: list(client, namespace, &selector).await?,
    })
}

/// Objects of one kind by label, of the moment: what was written before is in the answer.
pub(crate) async fn list<K: Kind>(client: &Client, namespace: &str, selector: &str) -> Result<Vec<K>, Halt> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().labels(selector)).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("list {}", K::plural(&())), error))?;
    Ok(found.items)
}

/// The one of that name.
pub(crate) fn named<'a, K: ResourceExt>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects.iter().find(|object| object.name_any() == name)
}
