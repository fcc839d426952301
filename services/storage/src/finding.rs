use std::{error::Error as _, fmt};

use openarchive_envelope::{OpenError, key_file::KeyFileError, pack::PackError};
use openarchive_objects::{ObjectError, ObjectKey};
use uuid::Uuid;

/// Something that a check found. `Display` is one sentence for people; it names places, never content.
#[derive(Debug)]
pub struct Finding {
    pub subject: Subject,
    pub problem: Problem,
}

/// What the finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Pack(Uuid),
    /// An object whose name is no pack's and no key file's.
    Object(ObjectKey),
}

/// What is the matter. Blobs are named by their ordinal in the pack, from 1.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the pack object is missing")]
    ObjectMissing,
    #[error("the pack object has {found} bytes, it was stored with {expected}")]
    ObjectLength { found: u64, expected: u64 },
    #[error("the pack object does not have the SHA-256 it was stored with")]
    ObjectChanged,
    #[error("the pack object's lock ends earlier than it was set")]
    LockShort,
    /// The store answers, but not for the pack object or for its key file.
    #[error("it cannot be read: {}", with_cause(.0))]
    Unreadable(ObjectError),
    #[error("{0}")]
    Footer(PackError),
    #[error("the footer's key is missing or does not unwrap, so the list of blobs cannot be read")]
    FooterKey,
    #[error("the key file is missing")]
    KeyFileMissing,
    #[error("{0}")]
    KeyFile(KeyFileError),
    #[error("the key file has {keys} keys for {blobs} blobs and the footer")]
    KeyFileCount { keys: usize, blobs: usize },
    #[error("the key of blob {blob} is not the same in the catalogue and in the key file")]
    KeyDiffers { blob: i32 },
    #[error("the key of blob {blob} is missing or does not unwrap")]
    KeyLost { blob: i32 },
    #[error("blob {blob} does not open: {error}")]
    Body { blob: i32, error: OpenError },
    #[error("the catalogue says something else of blob {blob} than the pack")]
    RowDiffers { blob: i32 },
    #[error("blob {blob} stands in the pack, but the catalogue knows neither it nor another copy of it")]
    RowMissing { blob: i32 },
    #[error("the catalogue lists blob {blob}, which the pack does not hold")]
    RowWithoutBlob { blob: i32 },
    #[error("the pack has no leaf in the ledger, and none is waiting to be sent")]
    LeafMissing,
    #[error("leaf {leaf} of the ledger, which should be this pack's, says something else")]
    LeafDiffers { leaf: u64 },
    #[error("leaf {leaf} of the ledger names this pack, but the catalogue does not know it")]
    PackRowMissing { leaf: u64 },
    /// What a crash or a failed write leaves.
    #[error(
        "the pack object is in the store, but the catalogue does not know it (left by an interrupted write)"
    )]
    UnreferencedPack,
    /// What a crash or a failed write leaves.
    #[error(
        "the key file is in the store, but the catalogue does not know its pack (left by an interrupted write)"
    )]
    UnreferencedKeyFile,
    #[error("the object stands among packs or key files, but is none of ours")]
    AlienObject,
}

fn with_cause(error: &ObjectError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl Finding {
    pub(crate) fn of_pack(pack: Uuid, problem: Problem) -> Self {
        Self { subject: Subject::Pack(pack), problem }
    }

    /// Whether something is damaged or lost. What is not damage is worth knowing, no more.
    pub fn is_damage(&self) -> bool {
        !matches!(
            self.problem,
            Problem::UnreferencedPack | Problem::UnreferencedKeyFile | Problem::AlienObject
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Pack(pack) => write!(f, "pack {pack}: {}", self.problem),
            Subject::Object(key) => write!(f, "object {key}: {}", self.problem),
        }
    }
}
