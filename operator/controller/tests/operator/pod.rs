//! The archive itself behind an operator, and what it has on record.

use std::path::Path;

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Secret};
use kube::api::ListParams;
use openarchive_operator_cluster::ArchiveProcess;
use openarchive_operator_controller::core::{Core, DialOverrides, Dialler, read_config_log};
use openarchive_operator_snapshot::{Chain, Revisions, Subject, selector};
use serde_json::{Value, json};

use crate::support::{Site, standalone};

/// `openarchive all`, as the pod of the StatefulSet would run it.
pub(crate) struct Pod(ArchiveProcess);

impl Pod {
    pub(crate) fn new() -> Self {
        Self(ArchiveProcess::new().unwrap())
    }

    pub(crate) fn grpc(&self) -> u16 {
        self.0.grpc()
    }

    /// What the cluster would mount.
    pub(crate) async fn mount(&self, site: &Site) {
        self.0.mount(&site.admin, &site.namespace).await.unwrap();
    }

    pub(crate) fn start(&mut self) {
        self.0.start().unwrap();
    }

    pub(crate) fn stop(&mut self) {
        self.0.stop();
    }
}

pub(crate) fn overrides(site: &Site, pod: &Pod) -> DialOverrides {
    pod.0.dial_override(&site.namespace).parse().unwrap()
}

/// The operator's own way to the archive.
pub(crate) async fn core(site: &Site, pod: &Pod, folder: &Path) -> Core {
    let secret = site.api::<Secret>().get("main-operator-tls").await.unwrap();
    let credentials = secret.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
    let address = format!("main-all.{}.svc:9443", site.namespace);
    let dialler = Dialler::new(folder, overrides(site, pod)).unwrap();
    dialler.core("main", &credentials, [address.clone(), address.clone(), address]).unwrap()
}

pub(crate) fn with_tenants(tenants: usize) -> Value {
    let mut archive = standalone("main");
    let tenants: Vec<_> = (0..tenants).map(|number| json!({"name": format!("tenant-{number}")})).collect();
    archive["spec"]["tenants"] = json!(tenants);
    archive
}

pub(crate) async fn chain(site: &Site, core: &Core) -> Chain {
    let subject = Subject::new("ArchiveCore", &site.namespace, "main").unwrap();
    let kept =
        site.api::<ControllerRevision>().list(&ListParams::default().labels(&selector(&subject))).await;
    let (log, _) = read_config_log(core).await.unwrap();
    Chain::verify(&subject, &Revisions::read(&kept.unwrap().items), &log)
}
