use std::fmt;

/// One thing that is wrong with an archive's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: FindingCode,
    /// For people: what it means.
    pub what: String,
    /// Which row or object.
    pub place: String,
}

impl Finding {
    pub(crate) fn new(code: FindingCode, place: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: place.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.place, self.what)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of damage. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode {
            $($(#[$doc])* $name,)*
        }

        impl FindingCode {
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// Objects of a log that the database does not know.
    LogMissing = "log-missing",
    /// A log that is signed by another key than the archive's.
    LogForeignKey = "log-foreign-key",
    /// The rows end before what was signed.
    TailCut = "tail-cut",
    /// A leaf row is missing within the log.
    RowMissing = "row-missing",
    /// A leaf row does not hash to its recorded hash.
    RowChanged = "row-changed",
    /// A leaf row's idempotency key is not its leaf's.
    RowKey = "row-key",
    /// A leaf's time is not the one recorded, or lies before that of the leaf before it.
    RowTime = "row-time",
    /// A complete subtree's hash is missing or wrong.
    Node = "node",
    BundleMissing = "bundle-missing",
    /// An entry bundle holds other leaves than the rows, or than the tiles say.
    BundleDiffers = "bundle-differs",
    TileMissing = "tile-missing",
    TileDiffers = "tile-differs",
    CheckpointMissing = "checkpoint-missing",
    /// A checkpoint is none, or not signed by the log's key.
    CheckpointSignature = "checkpoint-signature",
    /// A checkpoint says something else than its head.
    CheckpointDiffers = "checkpoint-differs",
    /// The published checkpoint is older than the latest recorded one.
    CheckpointRolledBack = "checkpoint-rolled-back",
    HeadMissing = "head-missing",
    /// A head does not follow from the one before it.
    HeadChain = "head-chain",
    /// A head's root is not the one of the log at that size.
    HeadDiffers = "head-differs",
    /// A wrapping key does not open under the archive's KEK.
    KeyForeign = "key-foreign",
    /// A wrapping key differs between row and object, or one of them is missing.
    KeyDiffers = "key-differs",
    /// There is more than is listed.
    More = "more",
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a long check or rebuild is, in leaves of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub log: String,
    pub done: u64,
    pub total: u64,
}
