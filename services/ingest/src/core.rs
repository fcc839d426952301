//! What every call of this service works with.

use std::{collections::BTreeSet, fmt, sync::Arc};

use openarchive_domain::{Clock, RetentionClass, Tenant};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{
    blob_store::BlobStore, enrolment::Issuer, ledger_client::LedgerClient, message_reader::MessageSource,
    retention::Retention,
};

/// Mails that are read back at a time, over all calls: each may hold a skeleton in memory.
pub(crate) const READ_BACKS_MAX: usize = 16;
/// Callers without a certificate that are served at a time: each may hold a connection to the database.
pub(crate) const ENROLMENTS_AT_ONCE_MAX: usize = 4;

pub(crate) struct Core {
    pub(crate) pool: PgPool,
    pub(crate) blobs: BlobStore,
    pub(crate) ledger: LedgerClient,
    pub(crate) issuer: Issuer,
    pub(crate) tenants: BTreeSet<Tenant>,
    pub(crate) retention: Retention,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) read_backs: Semaphore,
    pub(crate) enrolments: Semaphore,
}

impl Core {
    pub(crate) fn source(&self, tenant: &Tenant, class: RetentionClass) -> MessageSource {
        MessageSource { blobs: self.blobs.clone(), tenant: tenant.clone(), class }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}
