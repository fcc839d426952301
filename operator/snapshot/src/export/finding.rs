use openarchive_domain::Digest;
use openarchive_ledger::{
    checkpoint::CheckpointError,
    policy::{PolicyError, PolicyFailure},
    receipt::ReceiptFormatError,
    tree::TreeError,
};
use serde::{Serialize, Serializer};

use super::{EXPORT_BYTES_MAX, EXPORT_FILES_MAX};
use crate::{
    finding::{Finding, serialize},
    snapshot::SnapshotError,
};

/// One thing that is wrong with an export. `Display` says what and where, [`ExportFinding::remedy`] what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportFinding {
    #[error("the policy file cannot be read: {0}")]
    PolicyUnreadable(PolicyError),
    #[error("the export cannot be read as a tar file: {0}")]
    Unreadable(String),
    #[error("the export has more than {EXPORT_FILES_MAX} files or {EXPORT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the file {0} does not belong into an export, or stands in it twice")]
    FileUnexpected(String),
    #[error("the file {0} is missing")]
    FileMissing(String),
    #[error("the file {0} is not what an export of these leaves and this checkpoint has there")]
    FileAltered(String),
    #[error("the checkpoint cannot be read: {0}")]
    CheckpointUnreadable(CheckpointError),
    #[error("the checkpoint is not one that the policy accepts: {0}")]
    NotTrusted(PolicyFailure),
    #[error("the checkpoint is of {0}, which is no archive's config log")]
    OtherLog(String),
    #[error("the checkpoint is of {size} leaves, the export holds {found}")]
    LeavesMissing { size: u64, found: u64 },
    #[error("the leaves are not those of the tree that the checkpoint commits to")]
    RootDiffers,
    #[error("the earlier checkpoint cannot be read: {0}")]
    EarlierUnreadable(CheckpointError),
    #[error("the earlier checkpoint is not one that the policy accepts: {0}")]
    EarlierNotTrusted(PolicyFailure),
    #[error("the log of {size} leaves does not go on from the earlier checkpoint of {earlier} leaves")]
    NotSince { earlier: u64, size: u64 },
    #[error("the proof of leaf {index} cannot be read: {reason}")]
    ProofUnreadable { index: u64, reason: ReceiptFormatError },
    #[error("the proof of leaf {0} is of another leaf, or under another checkpoint")]
    ProofElsewhere(u64),
    #[error("leaf {index} is not in the tree that the checkpoint commits to: {reason}")]
    NotInTree { index: u64, reason: TreeError },
    #[error("the file {path} holds {found}: its content was changed")]
    BodyAltered { path: String, found: Digest },
    #[error("the file {path} holds no snapshot: {reason}")]
    BodyUnreadable { path: String, reason: Box<SnapshotError> },
    #[error("no leaf records the snapshot in {0}")]
    BodyUnrecorded(String),
    #[error(transparent)]
    History(#[from] Finding),
}

impl ExportFinding {
    /// Stable, for programs: lowercase words joined by underscores.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PolicyUnreadable(_) => "policy_unreadable",
            Self::Unreadable(_) => "export_unreadable",
            Self::TooLarge => "export_too_large",
            Self::FileUnexpected(_) => "file_unexpected",
            Self::FileMissing(_) => "file_missing",
            Self::FileAltered(_) => "file_altered",
            Self::CheckpointUnreadable(_) => "checkpoint_unreadable",
            Self::NotTrusted(PolicyFailure::UnknownLog) => "log_not_trusted",
            Self::NotTrusted(PolicyFailure::ForeignKey) => "checkpoint_key_foreign",
            Self::NotTrusted(PolicyFailure::BadSignature) => "checkpoint_signature_bad",
            Self::NotTrusted(PolicyFailure::BadCosignature) => "cosignature_bad",
            Self::NotTrusted(PolicyFailure::NoQuorum) => "quorum_not_met",
            Self::OtherLog(_) => "other_log",
            Self::LeavesMissing { .. } => "leaves_missing",
            Self::RootDiffers => "root_differs",
            Self::EarlierUnreadable(_) => "earlier_unreadable",
            Self::EarlierNotTrusted(_) => "earlier_not_trusted",
            Self::NotSince { .. } => "not_since",
            Self::ProofUnreadable { .. } => "proof_unreadable",
            Self::ProofElsewhere(_) => "proof_elsewhere",
            Self::NotInTree { .. } => "leaf_not_in_tree",
            Self::BodyAltered { .. } => "body_altered",
            Self::BodyUnreadable { .. } => "body_unreadable",
            Self::BodyUnrecorded(_) => "body_unrecorded",
            Self::History(finding) => finding.code(),
        }
    }

    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::PolicyUnreadable(_) => "take the policy as `kubectl archive config policy` printed it",
            Self::NotTrusted(_) | Self::OtherLog(_) => {
                "make sure that the policy is of this archive and came by another way than the export; if it is, \
                 the export is not the archive's"
            }
            Self::EarlierUnreadable(_) | Self::EarlierNotTrusted(_) => {
                "take a checkpoint of this log as it was published or kept before"
            }
            Self::NotSince { .. } => {
                "the export is older than the checkpoint, or the log was set back or rewritten: get it again from \
                 the archive, and keep both"
            }
            Self::Unreadable(_) | Self::TooLarge => {
                "take the file as `kubectl archive config export` wrote it"
            }
            Self::History(finding) => finding.remedy(),
            _ => "the export was changed after it was made: get it again from the archive, and keep both",
        }
    }
}

/// `{code, what, remedy}`.
impl Serialize for ExportFinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(serializer, self.code(), &self.to_string(), self.remedy())
    }
}
