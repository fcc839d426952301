//! Reading a whole evidence log, a tenant's or the archive's, page by page.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::{
    leaf::{AnyLeaf, HoldLeaf, LeafError, MessageLeaf, QuarantineReleaseLeaf, ResumeLeaf, ShredLeaf},
    origin::TenantOrArchive,
};

use crate::{
    failure::Failure,
    ledger_client::{BATCH_MAX, LedgerClient},
    policies::PolicyLeaf,
};

/// What the log says was done to mail.
#[derive(Debug, Default)]
pub(crate) struct Acts {
    /// Message leaves whose mail was ordered to be shredded: their records may be missing.
    pub(crate) shredded: BTreeSet<u64>,
    pub(crate) shreds: Vec<(u64, ShredLeaf)>,
    pub(crate) holds: Vec<(u64, HoldLeaf)>,
    pub(crate) resumptions: Vec<(u64, ResumeLeaf)>,
    /// The idempotency keys of all acts, by leaf.
    pub(crate) keys: BTreeMap<u64, Digest>,
    /// Leaves that were read.
    pub(crate) size: u64,
    pub(crate) quarantine_releases: Vec<(u64, QuarantineReleaseLeaf)>,
}

/// Reads the whole log for its acts.
pub(crate) async fn acts(ledger: &LedgerClient, tenant: &Tenant) -> Result<Acts, Failure> {
    let (mut acts, mut start) = (Acts::default(), 0);
    loop {
        let answer = ledger.leaves(tenant, start, BATCH_MAX).await?;
        let Some(last) = answer.leaves.last() else { return Ok(acts) };
        start = last.index + 1;
        acts.size = start;
        for leaf in &answer.leaves {
            // Leaves that cannot be read are named where every leaf is looked at.
            let Ok(stamped) = AnyLeaf::parse(&leaf.body) else { continue };
            let key = stamped.leaf.idempotency_key();
            match stamped.leaf {
                AnyLeaf::Shred(shred) => {
                    acts.shredded.extend(&shred.leaves);
                    acts.shreds.push((leaf.index, shred));
                }
                AnyLeaf::Hold(hold) => acts.holds.push((leaf.index, hold)),
                AnyLeaf::QuarantineRelease(release) => acts.quarantine_releases.push((leaf.index, release)),
                AnyLeaf::Resume(resume) => acts.resumptions.push((leaf.index, resume)),
                AnyLeaf::Message(_) | AnyLeaf::Pack(_) | AnyLeaf::Audit(_) | AnyLeaf::First(_) => continue,
            }
            acts.keys.insert(leaf.index, key);
        }
    }
}

/// Every leaf of the archive's own log that puts policies in force, and how many leaves were read.
pub(crate) async fn policies(ledger: &LedgerClient) -> Result<(Vec<(u64, PolicyLeaf)>, u64), Failure> {
    let (mut found, mut start) = (Vec::new(), 0);
    loop {
        let answer = ledger.leaves_of(&TenantOrArchive::Archive, start, BATCH_MAX).await?;
        let Some(last) = answer.leaves.last() else {
            // Leaves of two sets may have been appended in the other order: the later set counts.
            found.sort_by_key(|(index, leaf): &(u64, PolicyLeaf)| (leaf.version, *index));
            return Ok((found, start));
        };
        start = last.index + 1;
        let policies = answer.leaves.iter().map(|leaf| Some((leaf.index, PolicyLeaf::parse(&leaf.body)?)));
        found.extend(policies.flatten());
    }
}

/// The leaf of the archive's own log at `index`, if the log reaches so far and it puts policies in force.
pub(crate) async fn policies_at(ledger: &LedgerClient, index: u64) -> Result<Option<PolicyLeaf>, Failure> {
    let answer = ledger.leaves_of(&TenantOrArchive::Archive, index, 1).await?;
    let found = answer.leaves.first().filter(|leaf| leaf.index == index);
    Ok(found.and_then(|leaf| PolicyLeaf::parse(&leaf.body)))
}

/// One page of leaves.
pub(crate) struct Page {
    /// Message leaves by index, and leaves that cannot be read. Other kinds are not ingest's to judge.
    pub(crate) leaves: Vec<(u64, Result<MessageLeaf, LeafError>)>,
    /// Leaves of the log read so far.
    pub(crate) end: u64,
    /// Durable leaves in the log.
    pub(crate) size: u64,
}

/// The page that begins at `start`; none at the end of the log.
pub(crate) async fn page(
    ledger: &LedgerClient,
    tenant: &Tenant,
    start: u64,
) -> Result<Option<Page>, Failure> {
    let answer = ledger.leaves(tenant, start, BATCH_MAX).await?;
    let Some(last) = answer.leaves.last() else { return Ok(None) };
    let end = last.index + 1;
    let leaves = answer.leaves.iter().filter_map(|leaf| match AnyLeaf::parse(&leaf.body) {
        Ok(stamped) => match stamped.leaf {
            AnyLeaf::Message(message) => Some((leaf.index, Ok(message))),
            AnyLeaf::Pack(_)
            | AnyLeaf::Audit(_)
            | AnyLeaf::First(_)
            | AnyLeaf::Hold(_)
            | AnyLeaf::Shred(_)
            | AnyLeaf::Resume(_)
            | AnyLeaf::QuarantineRelease(_) => None,
        },
        Err(LeafError::UnknownKind) => None,
        Err(error) => Some((leaf.index, Err(error))),
    });
    Ok(Some(Page { leaves: leaves.collect(), end, size: answer.size }))
}
