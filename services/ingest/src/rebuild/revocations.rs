//! Agents that were shut out stay so.

use openarchive_domain::RetentionClass;
use openarchive_envelope::BlobKind;
use openarchive_schema::{TenantScope, begin};

use super::Rebuild;
use crate::{
    blob_store::{BlobError, BlobName},
    enrolment::{REVOCATION_BYTES_MAX, Revocation},
    failure::Failure,
    finding::Finding,
    governance::HOLD_RECORD_BYTES_MAX,
};

/// Any state has to be read to tell what it is.
const STATE_BYTES_MAX: usize =
    if HOLD_RECORD_BYTES_MAX > REVOCATION_BYTES_MAX { HOLD_RECORD_BYTES_MAX } else { REVOCATION_BYTES_MAX };

impl Rebuild<'_> {
    /// Revocations that are there already are kept.
    pub(super) async fn restore_revocations(&mut self) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let places = self.blobs_after(BlobKind::State, after.as_ref()).await?;
            let Some(last) = places.last() else { return Ok(()) };
            after = Some(last.clone());
            for place in &places {
                let name = BlobName::State(place.digest);
                match self.blobs.read(self.tenant, RetentionClass::System, name, STATE_BYTES_MAX).await {
                    Ok(bytes) => self.restore_revocation(&bytes).await?,
                    Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
                    Err(damage) => {
                        let (tenant, record) = (self.tenant.clone(), place.digest);
                        let damage = Finding::RecordDamaged { tenant, record, why: damage.to_string() };
                        // A hold's record may have been named already.
                        if !self.report.damage.contains(&damage) {
                            self.report.damage.push(damage);
                        }
                    }
                }
            }
        }
    }

    async fn restore_revocation(&self, state: &[u8]) -> Result<(), Failure> {
        let Some(revocation) = Revocation::decode(state) else { return Ok(()) };
        if revocation.tenant != self.tenant.as_str() {
            return Ok(());
        }
        let mut tx = begin(self.pool, TenantScope::One(self.tenant)).await?;
        revocation.insert(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}
