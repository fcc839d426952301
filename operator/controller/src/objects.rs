//! Everything that belongs to one archive in its namespace: as it was built, or as it was found.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use openarchive_operator_api::{
    FIELD_MANAGER, LABEL_AGENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, NetworkPolicySet,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Halt, finalizer};

/// Taken apart, or put together, without `..` here alone, so that a new kind cannot be forgotten: whoever does something to every
/// kind is a [`Step`].
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

/// What is done to every kind.
pub(crate) trait Step {
    /// To one of them. Answers its objects as they stand then.
    fn kind<K: Kind>(&mut self, built: &[K], live: &[K])
    -> impl Future<Output = Result<Vec<K>, Halt>> + Send;
}

impl Objects {
    /// Takes the step for every kind, in the order in which they are applied.
    pub(crate) async fn each(built: &Self, live: &Self, step: &mut impl Step) -> Result<Self, Halt> {
        Ok(Self {
            service_accounts: step.kind(&built.service_accounts, &live.service_accounts).await?,
            config_maps: step.kind(&built.config_maps, &live.config_maps).await?,
            secrets: step.kind(&built.secrets, &live.secrets).await?,
            services: step.kind(&built.services, &live.services).await?,
            network_policy_sets: step.kind(&built.network_policy_sets, &live.network_policy_sets).await?,
            jobs: step.kind(&built.jobs, &live.jobs).await?,
            stateful_sets: step.kind(&built.stateful_sets, &live.stateful_sets).await?,
            deployments: step.kind(&built.deployments, &live.deployments).await?,
            disruption_budgets: step.kind(&built.disruption_budgets, &live.disruption_budgets).await?,
        })
    }

    /// Each as it is sent, in the order in which they are applied.
    pub(crate) fn values(&self) -> Result<Vec<Value>, serde_json::Error> {
        let Self {
            service_accounts,
            config_maps,
            secrets,
            services,
            network_policy_sets,
            jobs,
            stateful_sets,
            deployments,
            disruption_budgets,
        } = self;
        let mut all = Vec::new();
        add(&mut all, service_accounts)?;
        add(&mut all, config_maps)?;
        add(&mut all, secrets)?;
        add(&mut all, services)?;
        add(&mut all, network_policy_sets)?;
        add(&mut all, jobs)?;
        add(&mut all, stateful_sets)?;
        add(&mut all, deployments)?;
        add(&mut all, disruption_budgets)?;
        Ok(all)
    }
}

fn add<K: serde::Serialize>(all: &mut Vec<Value>, objects: &[K]) -> Result<(), serde_json::Error> {
    for object in objects {
        all.push(serde_json::to_value(object)?);
    }
    Ok(())
}

/// Field manager that wrote nothing that can be told.
pub(crate) const UNKNOWN_MANAGER: &str = "unknown";

/// The field manager of the newest write that is not ours, status apart: a name that the client chose, not an identity.
pub(crate) fn newest_foreign_manager<K: ResourceExt>(object: &K) -> String {
    let newest = newest_foreign_write(object);
    newest.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| UNKNOWN_MANAGER.to_owned())
}

/// The newest write that is not ours, status apart.
pub(crate) fn newest_foreign_write<K: ResourceExt>(object: &K) -> Option<&ManagedFieldsEntry> {
    let foreign = object.managed_fields().iter().filter(|entry| {
        let manager = entry.manager.as_deref();
        manager != Some(FIELD_MANAGER)
            && manager != Some(finalizer::MANAGER)
            && entry.subresource.as_deref().unwrap_or("").is_empty()
    });
    foreign.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
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

/// Labels of every object that the operator made for the agent `agent` of the archive `name`.
pub(crate) fn selector_of_agent(name: &str, agent: &str) -> String {
    format!("{},{LABEL_AGENT}={agent}", selector(name))
}

/// What the cluster holds of the archive `name` itself; what belongs to one of its agents is left out.
pub(crate) async fn find(client: &Client, namespace: &str, name: &str) -> Result<Objects, Halt> {
    let selector = format!("{},!{LABEL_AGENT}", selector(name));
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

/// What the cluster holds of the agent `agent` of the archive `name`. Agents have no objects of the other kinds.
pub(crate) async fn find_of_agent(
    client: &Client,
    namespace: &str,
    name: &str,
    agent: &str,
) -> Result<Objects, Halt> {
    let selector = selector_of_agent(name, agent);
    Ok(Objects {
        service_accounts: list(client, namespace, &selector).await?,
        config_maps: list(client, namespace, &selector).await?,
        secrets: list(client, namespace, &selector).await?,
        services: list(client, namespace, &selector).await?,
        stateful_sets: list(client, namespace, &selector).await?,
        ..Objects::default()
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
