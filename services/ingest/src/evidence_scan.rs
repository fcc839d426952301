//! Reading a tenant's whole evidence log, page by page.

use openarchive_domain::Tenant;
use openarchive_ledger::leaf::{AnyLeaf, LeafError, MessageLeaf};

use crate::{
    failure::Failure,
    ledger_client::{BATCH_MAX, LedgerClient},
};

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
            AnyLeaf::Pack(_) | AnyLeaf::Audit(_) | AnyLeaf::First(_) => None,
        },
        Err(LeafError::UnknownKind) => None,
        Err(error) => Some((leaf.index, Err(error))),
    });
    Ok(Some(Page { leaves: leaves.collect(), end, size: answer.size }))
}
