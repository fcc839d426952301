//! The cluster that kubectl speaks to.

use anyhow::{Context, bail};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client, Config, Resource, ResourceExt, api::ListParams, config::KubeConfigOptions,
    core::NamespaceResourceScope,
};
use openarchive_operator_api::ArchiveCore;
use openarchive_operator_snapshot::{Revisions, Subject, selector};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// By default that of the kubeconfig's context
    #[arg(long, short, global = true)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
}

/// A client, and the namespace that is asked about.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Args {
    pub(crate) async fn connect(&self) -> anyhow::Result<Cluster> {
        let config = match &self.context {
            None => Config::infer().await.context("no cluster is configured")?,
            Some(context) => {
                let options =
                    KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                Config::from_kubeconfig(&options).await.with_context(|| format!("context {context}"))?
            }
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Cluster { client: Client::try_from(config).context("no client for this cluster")?, namespace })
    }
}

impl Cluster {
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Every object of a kind in the namespace that has these labels.
    pub(crate) async fn list<K>(&self, labels: &str) -> anyhow::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let listed = self.api::<K>().list(&ListParams::default().labels(labels)).await;
        Ok(listed.with_context(|| format!("cannot list {}", K::plural(&())))?.items)
    }

    /// The archive of that name. Where there is none, the error says which there are.
    pub(crate) async fn archive(&self, name: &str) -> anyhow::Result<ArchiveCore> {
        let found = self.api::<ArchiveCore>().get_opt(name).await;
        if let Some(archive) = found.with_context(|| format!("cannot read ArchiveCore {name}"))? {
            return Ok(archive);
        }
        let archives: Vec<ArchiveCore> = self.list("").await.unwrap_or_default();
        let names: Vec<_> = archives.iter().map(ResourceExt::name_any).collect();
        bail!("{}", no_archive(name, &self.namespace, &names));
    }

    /// The snapshots that the cluster has of one object.
    pub(crate) async fn revisions(&self, subject: &Subject) -> anyhow::Result<Revisions> {
        let listed: Vec<ControllerRevision> = self.list(&selector(subject)).await?;
        Ok(Revisions::read(&listed))
    }
}

pub(crate) fn no_archive(name: &str, place: &str, names: &[String]) -> String {
    let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("there is no ArchiveCore {name} in {place}; there is: {there_are}")
}
