//! A port on this machine that leads through the API server to a pod, as `kubectl port-forward` does.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, ResourceExt, api::Portforwarder};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{cluster::Cluster, text};

/// Ends when it is dropped. Whoever else connects on this machine meets the service's mutual TLS.
pub(crate) struct Forward {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forward {
    /// To a ready pod behind `SERVICE.NAMESPACE.svc:PORT`. The first connection is there when it answers, so that a missing right is
    /// told at once.
    pub(crate) async fn start(cluster: &Cluster, address: &str) -> anyhow::Result<Self> {
        let (host, port) = address.rsplit_once(':').context("an address without a port")?;
        let port: u16 = port.parse().context("an address without a port")?;
        let service = host.split('.').next().unwrap_or(host);
        let pod = ready_pod(cluster, service).await?;
        let pods = cluster.api::<Pod>();
        let first = pods.portforward(&pod, &[port]).await;
        let first = first.with_context(|| format!("cannot forward port {port} of pod {pod}"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no local port")?;
        let local = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, pods, pod, port, first));
        Ok(Self { local, task })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }
}

/// One stream through the API server for each connection.
async fn accept(listener: TcpListener, pods: Api<Pod>, pod: String, port: u16, first: Portforwarder) {
    let mut first = Some(first);
    while let Ok((local, _)) = listener.accept().await {
        let through = match first.take() {
            Some(first) => Ok(first),
            None => pods.portforward(&pod, &[port]).await,
        };
        match through {
            Ok(through) => drop(tokio::spawn(carry(local, through, port))),
            Err(error) => text::remark(&format!("cannot forward port {port} of pod {pod}: {error}")),
        }
    }
}

async fn carry(mut local: TcpStream, mut through: Portforwarder, port: u16) {
    let Some(mut remote) = through.take_stream(port) else { return };
    // Whatever breaks the connection, the call that it carried says so.
    let _ = copy_bidirectional(&mut local, &mut remote).await;
    drop(remote);
    let _ = through.join().await;
}

async fn ready_pod(cluster: &Cluster, service: &str) -> anyhow::Result<String> {
    let found = cluster.api::<Service>().get_opt(service).await;
    let found = found.with_context(|| format!("cannot read Service {service}"))?;
    let selector = found.and_then(|service| service.spec?.selector).unwrap_or_default();
    if selector.is_empty() {
        bail!("there is no Service {service} with pods: the archive does not run");
    }
    let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Vec<Pod> = cluster.list(&labels.join(",")).await?;
    let pod = pods.iter().find(|pod| is_ready(pod)).map(ResourceExt::name_any);
    pod.with_context(|| format!("no pod of Service {service} is ready"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
