//! The way to the services of one archive, with the operator's certificate: trust and storage let nobody else read
//! configurations. Whoever may read its Secret has all rights of the operator in that archive already.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Secret;
use openarchive_operator_controller::{
    Reach,
    core::{Core, DIAL_OVERRIDE, DialOverrides, Dialler},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};
use tempfile::TempDir;

use crate::{cluster::Cluster, forward::Forward};

/// Set in every pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Channels, and what they need while they are in use.
pub(crate) struct Way {
    pub(crate) core: Core,
    _forwards: Vec<Forward>,
    /// The certificate and its key, for nobody else's eyes; gone with this.
    _keys: TempDir,
}

impl Cluster {
    /// By name within the cluster; elsewhere through the API server to a ready pod of each service.
    pub(crate) async fn reach(&self, archive: &str) -> anyhow::Result<Way> {
        let reach = Reach::of(&self.archive(archive).await?)?;
        let credentials = self.credentials(&reach.secret).await?;
        let (overrides, forwards) = match env::var(DIAL_OVERRIDE) {
            Ok(_) if env::var_os(IN_CLUSTER).is_some() => {
                bail!("{DIAL_OVERRIDE} is not for use in a cluster")
            }
            Ok(text) => (text.parse()?, Vec::new()),
            Err(_) if env::var_os(IN_CLUSTER).is_some() => (DialOverrides::default(), Vec::new()),
            Err(_) => self.forward_to(&reach).await?,
        };
        let keys = tempfile::tempdir().context("no folder for the certificate")?;
        let dialler =
            Dialler::new(&keys.path().join("keys"), overrides).context("no folder for the certificate")?;
        let core = dialler.core(archive, &credentials, reach.addresses)?;
        Ok(Way { core, _forwards: forwards, _keys: keys })
    }

    async fn credentials(&self, name: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let secret = self.api::<Secret>().get_opt(name).await;
        let secret = secret.with_context(|| {
            format!(
                "cannot read Secret {name}, the operator's certificate: only that reads the archive's ledger"
            )
        })?;
        let data = secret.and_then(|secret| secret.data);
        let data = data.with_context(|| format!("there is no Secret {name} yet: the operator makes it"))?;
        Ok(data.into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// To trust and storage; ingest is not asked anything here.
    async fn forward_to(&self, reach: &Reach) -> anyhow::Result<(DialOverrides, Vec<Forward>)> {
        let [trust, storage, _] = &reach.addresses;
        let (mut overrides, mut forwards) = (Vec::new(), Vec::new());
        for address in BTreeSet::from([trust, storage]) {
            let forward = Forward::start(self, address).await?;
            overrides.push(format!("{address}={}", forward.local()));
            forwards.push(forward);
        }
        Ok((overrides.join(",").parse()?, forwards))
    }
}
