//! No figure counts if a mail was lost or came out different.

use std::{fs, path::Path};

use anyhow::ensure;
use openarchive_domain::Digest;
use openarchive_e2e::{Archive, Cluster, Ctl};

/// Mails of a run that are fetched and compared byte for byte, evenly spread; all are compared by `openarchive fsck`.
const COMPARED: usize = 25;

/// Every mail that was sent is there once, comes out as it went in, and the whole archive is free of damage. Stops it.
pub fn check(archive: &mut Archive, digests: &[Digest]) -> anyhow::Result<()> {
    let found = archive.count("*");
    ensure!(found == digests.len() as u64, "{} mails were sent, {found} are found", digests.len());
    for digest in digests.iter().step_by(digests.len().div_ceil(COMPARED).max(1)) {
        compare(digest, &archive.scratch("compared.eml"), |arguments| archive.ctl(arguments))?;
    }
    ensure!(archive.terminate(), "the archive does not stop well");
    // Rebuilds every mail from its objects and compares it with the digest that the agent had before it sent it.
    let report = archive.offline("fsck", &[]);
    ensure!(report.code == 0, "fsck: {}{}", report.stdout, report.stderr);
    Ok(())
}

/// The same of separate roles, which `openarchive fsck` does not read: every mail is fetched and compared, from one gateway after
/// the other, and no role has panicked.
pub fn check_separate(cluster: &Cluster, tenant: &str, digests: &[Digest]) -> anyhow::Result<()> {
    let token = cluster.root().join("gate.token");
    fs::write(&token, cluster.token(tenant))?;
    let found = cluster.ctl(0, &token, &["search", "*", "--limit", "1", "-o", "json"]);
    ensure!(found.code == 0, "nothing can be found: {}", found.stderr);
    let found = found.json()["total"].as_u64();
    ensure!(found == Some(digests.len() as u64), "{} mails were sent, {found:?} are found", digests.len());
    let gateways = cluster.gateway().len();
    for (number, digest) in digests.iter().enumerate() {
        let file = cluster.root().join("compared.eml");
        compare(digest, &file, |arguments| cluster.ctl(number % gateways, &token, arguments))?;
    }
    for (index, role, replica) in cluster.services() {
        let log = fs::read(cluster.log(index))?;
        let log = String::from_utf8_lossy(&log);
        let panicked = log.lines().find(|line| line.contains("panicked at"));
        ensure!(panicked.is_none(), "{role} {replica}: {panicked:?}");
    }
    Ok(())
}

/// Fetches one mail into `file`; `ctl` runs archivectl.
fn compare(digest: &Digest, file: &Path, ctl: impl FnOnce(&[&str]) -> Ctl) -> anyhow::Result<()> {
    let _ = fs::remove_file(file);
    let got = ctl(&["message", "get", &digest.to_string(), "-o", &file.display().to_string()]);
    ensure!(got.code == 0, "a mail does not come out: {}", got.stderr);
    ensure!(Digest::of(&fs::read(file)?) == *digest, "a mail came out different");
    Ok(())
}
