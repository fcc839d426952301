//! `openarchive trust-policy`: what a tenant's agents and verifiers have to trust.

use std::{io::Write as _, path::Path};

use anyhow::{Context, bail};
use openarchive_domain::Tenant;
use openarchive_trust::Keys;

use crate::config::{self, Environment};

/// Prints a C2SP tlog-policy with the keys of the tenant's logs. Needs the
/// configuration of trust, or of `all`, and the keys, not the service.
pub(crate) fn run(config: &Path, tenant: &Tenant) -> anyhow::Result<()> {
    let (archive, folder) = config::load_keys(config, &Environment::of_process())?;
    if !archive.tenants.contains(tenant) {
        bail!("tenant {tenant} is not in archive.tenants");
    }
    let keys = Keys::open(&folder).with_context(|| {
        format!("cannot open the keys in {}: start trust once, it makes them", folder.display())
    })?;
    let policy = openarchive_trust::policy_for(&keys, &archive.domain, &archive.name, tenant)?;
    std::io::stdout().write_all(&policy.to_text())?;
    Ok(())
}
