//! No figure counts if a mail was lost or came out different.

use anyhow::ensure;
use openarchive_domain::Digest;
use openarchive_e2e::Archive;

/// Mails of a run that are fetched and compared byte for byte, evenly spread; all are compared by `openarchive fsck`.
const COMPARED: usize = 25;

/// Every mail that was sent is there once, comes out as it went in, and the whole archive is free of damage. Stops it.
pub fn check(archive: &mut Archive, digests: &[Digest]) -> anyhow::Result<()> {
    let found = archive.count("*");
    ensure!(found == digests.len() as u64, "{} mails were sent, {found} are found", digests.len());
    for digest in digests.iter().step_by(digests.len().div_ceil(COMPARED).max(1)) {
        let file = archive.scratch("compared.eml");
        let path = file.display().to_string();
        let _ = std::fs::remove_file(&file);
        let got = archive.ctl(&["message", "get", &digest.to_string(), "-o", &path]);
        ensure!(got.code == 0, "a mail does not come out: {}", got.stderr);
        ensure!(Digest::of(&std::fs::read(&file)?) == *digest, "a mail came out different");
    }
    ensure!(archive.terminate(), "the archive does not stop well");
    // Rebuilds every mail from its objects and compares it with the digest that the agent had before it sent it.
    let report = archive.offline("fsck", &[]);
    ensure!(report.code == 0, "fsck: {}{}", report.stdout, report.stderr);
    Ok(())
}
