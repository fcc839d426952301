use openarchive_domain::Digest;
use openarchive_ledger::leaf::LeafError;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::revision::RevisionError;

/// One thing that is wrong with a configuration history. `Display` says what and where, [`Finding::remedy`] what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("the config log goes on with leaf {found} where leaf {expected} belongs")]
    LogGap { expected: u64, found: u64 },
    #[error("leaf {index} of the config log cannot be read: {reason}")]
    LeafUnreadable { index: u64, reason: LeafError },
    #[error("leaf {index} of the config log records the same snapshot as leaf {first}")]
    LeafRepeated { index: u64, first: u64 },
    #[error(
        "leaf {index} of the config log breaks the chain: it follows {}, the one before it in the log is {}",
        or_nothing(.found.as_ref()), or_nothing(.expected.as_ref())
    )]
    ChainBroken { index: u64, expected: Option<Digest>, found: Option<Digest> },
    #[error("leaf {index} of the config log says something else of {sha256} than that snapshot itself")]
    LeafDisagrees { index: u64, sha256: Digest },
    #[error("snapshot {sha256} is of generation {generation}, below the one that was applied before it")]
    GenerationWentBack { sha256: Digest, generation: u64 },
    #[error(
        "snapshot {sha256} lists these generations as never applied: {found}; by the snapshots around it they are: \
         {expected}"
    )]
    GenerationsUnlisted { sha256: Digest, expected: String, found: String },
    #[error(
        "the ControllerRevision {name} is gone; leaf {index} of the config log says that it held {sha256}"
    )]
    RevisionMissing { name: String, index: u64, sha256: Digest },
    #[error(
        "the ControllerRevision {name} does not hold what was recorded in its place: leaf {index} of the config log \
         says {sha256}, but {reason}"
    )]
    RevisionReplaced { name: String, index: u64, sha256: Digest, reason: String },
    #[error(
        "the ControllerRevision {name} has the number {found} where the ledger has it as snapshot {expected}"
    )]
    RevisionMisplaced { name: String, expected: u32, found: u32 },
    #[error("the ControllerRevision {name} claims to be snapshot {ordinal}, a place that another one has")]
    RevisionUnrecorded { name: String, ordinal: u32 },
    #[error(
        "the ControllerRevision {name} waits for the ledger, but cannot follow: it comes after {}, the last one at hand is {}",
        or_nothing(.found.as_ref()), or_nothing(.expected.as_ref())
    )]
    PendingUnlinked { name: String, expected: Option<Digest>, found: Option<Digest> },
    #[error("the ControllerRevision {name} cannot be read: {reason}")]
    RevisionUnreadable { name: String, reason: Box<RevisionError> },
    #[error("the body of snapshot {sha256}, which leaf {index} of the config log records, is not there")]
    BodyMissing { index: u64, sha256: Digest },
}

impl Finding {
    /// Stable, for programs: lowercase words joined by underscores.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LogGap { .. } => "log_gap",
            Self::LeafUnreadable { .. } => "leaf_unreadable",
            Self::LeafRepeated { .. } => "leaf_repeated",
            Self::ChainBroken { .. } => "chain_broken",
            Self::LeafDisagrees { .. } => "leaf_disagrees",
            Self::GenerationWentBack { .. } => "generation_went_back",
            Self::GenerationsUnlisted { .. } => "generations_unlisted",
            Self::RevisionMissing { .. } => "revision_missing",
            Self::RevisionReplaced { .. } => "revision_replaced",
            Self::RevisionMisplaced { .. } => "revision_misplaced",
            Self::RevisionUnrecorded { .. } => "revision_unrecorded",
            Self::PendingUnlinked { .. } => "pending_unlinked",
            Self::RevisionUnreadable { .. } => "revision_unreadable",
            Self::BodyMissing { .. } => "body_missing",
        }
    }

    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::LogGap { .. } => {
                "read the whole log from leaf 0 again; if the gap stays, run openarchive fsck"
            }
            Self::LeafUnreadable { .. } => {
                "verify with a version at least as new as the operator; if it stays, run openarchive fsck"
            }
            Self::LeafRepeated { .. }
            | Self::ChainBroken { .. }
            | Self::LeafDisagrees { .. }
            | Self::GenerationWentBack { .. }
            | Self::GenerationsUnlisted { .. } => {
                "the ledger itself shows it and cannot be mended: find out who wrote to the config log beside the \
                 operator, and keep an export as evidence"
            }
            Self::RevisionMissing { .. } | Self::BodyMissing { .. } => {
                "find out who deleted it; the archive still has the snapshot as a config blob under that digest"
            }
            Self::RevisionReplaced { .. }
            | Self::RevisionMisplaced { .. }
            | Self::RevisionUnreadable { .. } => {
                "find out who made it; what was applied is the config blob whose digest the ledger has, not this"
            }
            Self::RevisionUnrecorded { .. } => {
                "a second operator or a person made it: compare it with the one that has the place, write down what \
                 you find, then delete it"
            }
            Self::PendingUnlinked { .. } => {
                "one that was not yet on the ledger is gone or was made by somebody else: find out who did it; this \
                 one is never recorded, the next configuration follows the last one that is linked"
            }
        }
    }
}

/// `{code, what, remedy}`.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(serializer, self.code(), &self.to_string(), self.remedy())
    }
}

pub(crate) fn serialize<S: Serializer>(
    serializer: S,
    code: &str,
    what: &str,
    remedy: &str,
) -> Result<S::Ok, S::Error> {
    let mut finding = serializer.serialize_struct("Finding", 3)?;
    finding.serialize_field("code", code)?;
    finding.serialize_field("what", what)?;
    finding.serialize_field("remedy", remedy)?;
    finding.end()
}

fn or_nothing(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "nothing".to_owned(), Digest::to_string)
}
