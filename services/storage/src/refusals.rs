//! One map from what went wrong to gRPC codes and reasons.

use openarchive_envelope::SealError;
use openarchive_objects::ObjectError;
use openarchive_rpc::refusal;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::StorageError;

/// There is no such blob.
pub const BLOB_ABSENT: &str = "BLOB_ABSENT";
/// The blob was shredded: its key is destroyed, as a leaf of the ledger says.
pub const BLOB_SHREDDED: &str = "BLOB_SHREDDED";
/// The blob is catalogued, but it cannot be read back as it was stored.
pub const BLOB_DAMAGED: &str = "BLOB_DAMAGED";
/// The raw bytes do not have the digest they were sent under.
pub const DIGEST_MISMATCH: &str = "DIGEST_MISMATCH";
/// The raw bytes do not have the length they were announced with.
pub const LENGTH_MISMATCH: &str = "LENGTH_MISMATCH";
/// The request is not well-formed.
pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
/// Something that storage needs is away; the same call may succeed later.
pub const STORAGE_UNAVAILABLE: &str = "STORAGE_UNAVAILABLE";

pub(crate) fn invalid(message: impl Into<String>) -> Status {
    refusal(Code::InvalidArgument, INVALID_REQUEST, message)
}

pub(crate) fn absent() -> Status {
    refusal(Code::NotFound, BLOB_ABSENT, "there is no such blob")
}

pub(crate) fn shredded(leaf: u64) -> Status {
    let message = format!("the blob was shredded, as leaf {leaf} of the evidence log says");
    refusal(Code::NotFound, BLOB_SHREDDED, message)
}

/// Names the place, never the content.
pub(crate) fn damaged(pack: Uuid, ordinal: i32, problem: &str) -> Status {
    let message = format!("blob {ordinal} of pack {pack} is damaged ({problem}): run `openarchive fsck`");
    refusal(Code::DataLoss, BLOB_DAMAGED, message)
}

impl From<&StorageError> for Status {
    fn from(error: &StorageError) -> Self {
        match error {
            StorageError::PackNotStored(cause) => Self::from(&**cause),
            StorageError::Seal(SealError::DigestMismatch) => {
                refusal(Code::InvalidArgument, DIGEST_MISMATCH, "the bytes sent do not have their digest")
            }
            StorageError::Seal(mismatch @ SealError::LengthMismatch { .. }) => {
                refusal(Code::InvalidArgument, LENGTH_MISMATCH, mismatch.to_string())
            }
            StorageError::LockDate(error) => invalid(error.to_string()),
            StorageError::Objects(error) if !error.is_retryable() => internal(error),
            StorageError::Trust { status, .. } if !may_pass(status.code()) => internal(error),
            StorageError::Objects(_)
            | StorageError::Database(_)
            | StorageError::Transaction(_)
            | StorageError::Trust { .. }
            | StorageError::Spool(_)
            | StorageError::Stopping => refusal(Code::Unavailable, STORAGE_UNAVAILABLE, error.to_string()),
            StorageError::KeyMissing => refusal(Code::DataLoss, BLOB_DAMAGED, error.to_string()),
            StorageError::TrustAnswer(_)
            | StorageError::Seal(_)
            | StorageError::Pack(_)
            | StorageError::KeyFile(_)
            | StorageError::Row { .. } => internal(error),
        }
    }
}

impl From<StorageError> for Status {
    fn from(error: StorageError) -> Self {
        Self::from(&error)
    }
}

/// Whether a call to another service that ended like this may succeed later.
pub(crate) fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unknown
    )
}

fn internal(error: &dyn std::error::Error) -> Status {
    refusal(Code::Internal, "STORAGE_INTERNAL", error.to_string())
}

/// An object that is missing or too short is damage; a store that does not answer is not.
pub(crate) fn is_damage(error: &ObjectError) -> bool {
    matches!(error, ObjectError::NotFound { .. } | ObjectError::RangeBeyondEnd { .. })
}
