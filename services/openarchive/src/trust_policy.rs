//! `openarchive trust-policy`: what a tenant's agents and verifiers have to trust.

use std::{io::Write as _, path::Path};

use anyhow::{Context, bail};
use openarchive_domain::Tenant;
use openarchive_topology::Role;
use openarchive_trust::Keys;

use crate::config::{Environment, RoleConfig};

/// Prints a C2SP tlog-policy with the keys of the tenant's logs. Needs trust's configuration and its keys, not its service.
pub(crate) fn run(config: &Path, tenant: &Tenant) -> anyhow::Result<()> {
    let config = RoleConfig::load(Role::Trust, config, &Environment::of_process())?;
    if !config.archive.tenants.contains(tenant) {
        bail!("tenant {tenant} is not in archive.tenants");
    }
    let folder = &config.trust.as_ref().context("trust has its section")?.keys;
    let keys = Keys::open(folder).with_context(|| {
        format!("cannot open the keys in {}: start trust once, it makes them", folder.display())
    })?;
    let policy = openarchive_trust::policy_for(&keys, &config.archive.domain, &config.archive.name, tenant)?;
    std::io::stdout().write_all(&policy.to_text())?;
    Ok(())
}
