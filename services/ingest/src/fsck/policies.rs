//! The policies in force are those that the log names last. A lock that somebody took out of the database is found here.

use openarchive_domain::Digest;
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;

use crate::{
    blob_store::{BlobError, BlobStore},
    evidence_scan,
    failure::Failure,
    finding::Finding,
    ledger_client::LedgerClient,
    policies::{POLICY_RECORD_BYTES_MAX, PolicyLeaf, PolicyRecord},
};

pub(super) async fn check(
    pool: &PgPool,
    blobs: &BlobStore,
    ledger: &LedgerClient,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let (leaves, size) = evidence_scan::policies(ledger).await?;
    // Rows are read after the log: a set has its row before its leaf. One without a leaf is about to get it.
    let rows = sqlx::query!(
        r#"select s.version, sha256(s.body) as "record!", a.leaf_index
           from ingest.policy_set s join ingest.act a using (act_id) where s.tenant = '_' order by s.version"#,
    )
    .fetch_all(&mut *begin(pool, TenantScope::Archive).await?)
    .await?;
    let of_row = |version: u64| rows.iter().find(|row| row.version as u64 == version);
    for row in &rows {
        let Some(index) = row.leaf_index.map(|index| index as u64).filter(|index| *index < size) else {
            continue;
        };
        let named = leaves.iter().find(|(leaf_index, _)| *leaf_index == index);
        let is_same =
            |leaf: &PolicyLeaf| leaf.version == row.version as u64 && row.record == leaf.record.as_bytes();
        if !named.is_some_and(|(_, leaf)| is_same(leaf)) {
            findings.push(Finding::PoliciesDiffer { index });
        }
    }
    let Some((index, last)) = leaves.last() else { return Ok(()) };
    if of_row(last.version).is_none_or(|row| row.record != last.record.as_bytes()) {
        findings.push(Finding::PoliciesDiffer { index: *index });
    }
    match blobs.read_archive_state(last.record, POLICY_RECORD_BYTES_MAX).await {
        Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
        Err(damage) => {
            findings.push(Finding::PoliciesUnreadable { index: *index, why: damage.to_string() });
        }
        Ok(bytes) if Digest::of(&bytes) == last.record && PolicyRecord::decode(&bytes).is_some() => {}
        Ok(_) => {
            let why = "its record is no set of policies".to_owned();
            findings.push(Finding::PoliciesUnreadable { index: *index, why });
        }
    }
    Ok(())
}
