//! From gRPC messages to our words.

use openarchive_domain::{Digest, RetentionClass, Timestamp};
use openarchive_envelope::{BlobKind, BlobScope};
use openarchive_proto::storage::v1::{self as proto, BlobRef, ClassedBlob, PutBlobsHeader};
use tonic::Status;

use crate::{
    blob_id::{BlobId, Group},
    catalogue::KeepUntil,
    refusals::invalid,
};

/// Raw bytes of one blob, at most: a whole message (150 MiB) and to spare.
pub const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Packs that ListPacks answers with, at most.
pub const LIST_PACKS_MAX: u32 = 1_000;

/// Blobs that StatBlobs or ExtendLock answers for in one call, at most.
pub const STAT_BLOBS_MAX: usize = 10_000;

/// A blob that is announced.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub(crate) group: Group,
    pub(crate) id: BlobId,
    pub(crate) length: u64,
}

impl TryFrom<PutBlobsHeader> for Announced {
    type Error = Status;

    fn try_from(header: PutBlobsHeader) -> Result<Self, Status> {
        let group = Group { scope: scope(&header.tenant)?, class: class(&header.class)? };
        let id = blob_id(header.blob.as_ref())?;
        if header.length > BLOB_BYTES_MAX {
            let length = header.length;
            return Err(invalid(format!(
                "the blob has {length} bytes, at most {BLOB_BYTES_MAX} are allowed"
            )));
        }
        let of_archive = matches!(id.kind, BlobKind::State | BlobKind::Config);
        if of_archive != (group.class == RetentionClass::System) {
            return Err(invalid("state and config blobs, and only those, have the class `system`"));
        }
        Ok(Self { group, id, length: header.length })
    }
}

pub(crate) fn scope(tenant: &str) -> Result<BlobScope, Status> {
    tenant.parse().map_err(|error: openarchive_domain::ParseError| invalid(error.to_string()))
}

pub(crate) fn class(class: &str) -> Result<RetentionClass, Status> {
    class.parse().map_err(|error: openarchive_domain::ParseError| invalid(error.to_string()))
}

/// Empty: any class.
pub(crate) fn class_or_any(text: &str) -> Result<Option<RetentionClass>, Status> {
    if text.is_empty() { Ok(None) } else { class(text).map(Some) }
}

pub(crate) fn keep_until(text: &str) -> Result<KeepUntil, Status> {
    let until: Timestamp =
        text.parse().map_err(|error: openarchive_domain::ParseError| invalid(error.to_string()))?;
    Ok(KeepUntil::new(until))
}

pub(crate) fn blob_ids(blobs: &[BlobRef]) -> Result<Vec<BlobId>, Status> {
    if blobs.len() > STAT_BLOBS_MAX {
        return Err(invalid(format!("at most {STAT_BLOBS_MAX} blobs are looked up in one call")));
    }
    blobs.iter().map(|blob| blob_id(Some(blob))).collect()
}

pub(crate) fn classed_blobs(blobs: &[ClassedBlob]) -> Result<Vec<(RetentionClass, BlobId)>, Status> {
    if blobs.len() > STAT_BLOBS_MAX {
        return Err(invalid(format!("at most {STAT_BLOBS_MAX} blobs are looked up in one call")));
    }
    blobs.iter().map(|blob| Ok((class(&blob.class)?, blob_id(blob.blob.as_ref())?))).collect()
}

pub(crate) fn blob_id(blob: Option<&BlobRef>) -> Result<BlobId, Status> {
    let blob = blob.ok_or_else(|| invalid("the request names no blob"))?;
    let kind = match blob.kind() {
        proto::BlobKind::Part => BlobKind::Part,
        proto::BlobKind::Skeleton => BlobKind::Skeleton,
        proto::BlobKind::Observation => BlobKind::Observation,
        proto::BlobKind::State => BlobKind::State,
        proto::BlobKind::Config => BlobKind::Config,
        proto::BlobKind::Unspecified => {
            return Err(invalid("the blob has no kind, or one this version does not know"));
        }
    };
    let digest = Digest::try_from(blob.digest.as_ref()).map_err(|error| invalid(error.to_string()))?;
    Ok(BlobId { kind, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: &str, kind: proto::BlobKind, length: u64) -> PutBlobsHeader {
        PutBlobsHeader {
            tenant: "acme".to_owned(),
            class: class.to_owned(),
            blob: Some(BlobRef { kind: kind.into(), digest: vec![1; 32].into() }),
            length,
        }
    }

    #[test]
    fn only_well_formed_announcements_pass() {
        let good = header("10y-received-forbidden", proto::BlobKind::Part, BLOB_BYTES_MAX);
        assert!(Announced::try_from(good.clone()).is_ok());
        assert!(Announced::try_from(header("system", proto::BlobKind::State, 0)).is_ok());
        for bad in [
            header("10y-received-forbidden", proto::BlobKind::Part, BLOB_BYTES_MAX + 1),
            header("10y-received-forbidden", proto::BlobKind::Unspecified, 1),
            header("10y-received-forbidden", proto::BlobKind::Config, 1),
            header("system", proto::BlobKind::Skeleton, 1),
            header("10y", proto::BlobKind::Part, 1),
            PutBlobsHeader { tenant: "Acme".to_owned(), ..good.clone() },
            PutBlobsHeader { blob: None, ..good.clone() },
            PutBlobsHeader { blob: Some(BlobRef { kind: 1, digest: vec![1; 31].into() }), ..good },
        ] {
            assert_eq!(Announced::try_from(bad).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
