//! The cluster that kubectl speaks to.

use anyhow::Context;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, Config, api::ListParams, config::KubeConfigOptions};
use openarchive_operator_snapshot::{Revisions, Subject, selector};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// By default that of the kubeconfig's context
    #[arg(long, short, global = true)]
    namespace: Option<String>,
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
    /// The snapshots that the cluster has of one object.
    pub(crate) async fn revisions(&self, subject: &Subject) -> anyhow::Result<Revisions> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), subject.namespace());
        let listed = api.list(&ListParams::default().labels(&selector(subject))).await;
        Ok(Revisions::read(&listed.context("cannot list ControllerRevisions")?.items))
    }
}
