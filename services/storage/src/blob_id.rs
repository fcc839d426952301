use openarchive_domain::{Digest, RetentionClass};
use openarchive_envelope::{BlobContext, BlobKind, BlobScope};
use openarchive_schema::TenantScope;

/// What one pack belongs to, and within which a blob is stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) scope: BlobScope,
    pub(crate) class: RetentionClass,
}

/// A blob within its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlobId {
    pub(crate) kind: BlobKind,
    /// SHA-256 of the raw bytes.
    pub(crate) digest: Digest,
}

impl BlobId {
    pub(crate) fn context(self, scope: &BlobScope) -> BlobContext {
        BlobContext::new(scope.clone(), self.kind, self.digest)
    }
}

/// Whose rows a blob's are.
pub(crate) const fn rows_of(scope: &BlobScope) -> TenantScope<'_> {
    match scope {
        BlobScope::Archive => TenantScope::Archive,
        BlobScope::Tenant(tenant) => TenantScope::One(tenant),
    }
}

/// A kind as it stands in `pack_entry.kind`.
pub(crate) fn kind_column(kind: BlobKind) -> i16 {
    i16::from(kind.code())
}
