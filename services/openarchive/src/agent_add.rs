//! `openarchive agent add`: what an agent needs to reach this archive and to check its answers.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

use anyhow::{Context, bail};
use openarchive_domain::AgentRef;

use crate::{
    archive_file::ArchiveFile,
    authority::Authority,
    layout::{Secrecy, write_file},
};

/// Writes into `out`: agent.pem, agent.key, ca.pem, log.policy. Needs no running archive, only its data folder after
/// a first start. The certificate's URI SAN is all that says who the agent is.
pub(crate) fn run(agent: &AgentRef, data: &Path, out: &Path) -> anyhow::Result<()> {
    let archive = ArchiveFile::open(data)?;
    if !archive.tenants.contains(&agent.tenant) {
        bail!(
            "tenant {} is not in {}: add it to `tenants` first",
            agent.tenant,
            data.join("archive.yaml").display()
        );
    }
    let policy_path = data.join("trust.policy");
    let policy = fs::read_to_string(&policy_path).with_context(|| {
        format!("cannot read {}: start the archive once, it writes it", policy_path.display())
    })?;
    let authority = Authority::open_or_create(&data.join("tls"), &archive.domain)?;
    if out.exists() {
        bail!("{} is there already: keys are never overwritten; choose another folder", out.display());
    }
    write_bundle(&authority, agent, &policy, out)?;
    println!("agent {agent}: certificate, key, CA and log policy are in {}", out.display());
    println!("next: point an agent's `core` section at them (docs/agent.md) and run `openarchive-edge run`");
    Ok(())
}

/// The bundle's files, in a folder that only its owner may enter.
pub(crate) fn write_bundle(
    authority: &Authority,
    agent: &AgentRef,
    policy: &str,
    out: &Path,
) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    let identity = authority.agent(agent)?;
    write_file(&out.join("ca.pem"), authority.certificate().as_bytes(), Secrecy::Public)?;
    write_file(&out.join("log.policy"), policy.as_bytes(), Secrecy::Public)?;
    write_file(&out.join("agent.key"), identity.key.as_bytes(), Secrecy::Secret)?;
    write_file(&out.join("agent.pem"), identity.certificate.as_bytes(), Secrecy::Public)
}
