//! The policies in force are those that the log names last. A lock that somebody took out of the database is found here.

use openarchive_domain::{Digest, Timestamp};
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;

use crate::{
    blob_store::{BlobError, BlobStore},
    evidence_scan,
    failure::Failure,
    finding::Finding,
    ledger_client::LedgerClient,
    observation_rows::undecodable,
    policies::{POLICY_RECORD_BYTES_MAX, PolicyLeaf, PolicyRecord},
};

pub(super) async fn check(
    pool: &PgPool,
    blobs: &BlobStore,
    ledger: &LedgerClient,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let (leaves, size) = evidence_scan::policies(ledger).await?;
    // Rows are read after the log: a set has its row before its leaf.
    let rows = sqlx::query!(
        r#"select s.version, sha256(s.body) as "record!", s.applied_at, a.idempotency_key, a.body, a.leaf_index
           from ingest.policy_set s join ingest.act a using (act_id) where s.tenant = '_' order by s.version"#,
    )
    .fetch_all(&mut *begin(pool, TenantScope::Archive).await?)
    .await?;
    let of_row = |version: u64| rows.iter().find(|row| row.version as u64 == version);
    for row in &rows {
        let version = row.version as u64;
        let Some(index) = row.leaf_index.map(|index| index as u64) else {
            let record = Digest::try_from(row.record.as_slice()).map_err(undecodable)?;
            let occurred_at = Timestamp::from_millis(row.applied_at);
            let leaf = PolicyLeaf { version, record, occurred_at };
            let sent = row.body == leaf.body() && row.idempotency_key == leaf.idempotency_key().as_bytes();
            // One that is about to be sent says what the set says; any other the log never takes for it.
            if !sent {
                findings.push(Finding::PoliciesWithoutLeaf { version });
            }
            continue;
        };
        let named = match leaves.iter().find(|(leaf_index, _)| *leaf_index == index) {
            // Appended while this check was running, or beyond the log.
            None if index >= size => evidence_scan::policies_at(ledger, index).await?,
            known => known.map(|(_, leaf)| leaf.clone()),
        };
        let is_same = |leaf: PolicyLeaf| leaf.version == version && row.record == leaf.record.as_bytes();
        if !named.is_some_and(is_same) {
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
