use openarchive_objects::ObjectKey;

/// What a person does about a database that is behind, or beside, what was signed. Nothing that was acknowledged is lost
/// by it: authors keep what no receipt covers yet, and send it again.
pub(crate) const WAY_BACK: &str = "stop the archive, move its database away and run `openarchive rebuild`, which fills an empty one from the objects";

/// Why no checkpoint is signed until a person has acted. Nothing is lost by waiting: leaves stay in the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SigningRefusal {
    #[error(
        "log {log} was set back: its head {ordinal} covers {signed} leaves, but the database holds {rows}, as after an older backup was restored; {WAY_BACK}"
    )]
    Rewound { log: String, ordinal: u64, signed: u64, rows: u64 },
    #[error("log {log} has another history than the one of its head {ordinal} at {size} leaves; {WAY_BACK}")]
    OtherHistory { log: String, ordinal: u64, size: u64 },
    #[error(
        "head {ordinal} of log {log}, which was signed, is missing in the object store: restore its objects, or begin a new log epoch"
    )]
    HeadMissing { log: String, ordinal: u64 },
    #[error("head {ordinal} of log {log} does not follow from the one before it; run `openarchive fsck`")]
    HeadChain { log: String, ordinal: u64 },
    #[error("another signer made head {ordinal} of log {log} meanwhile")]
    HeadTaken { log: String, ordinal: u64 },
    #[error("the row of leaf {index} of log {log} does not hash to what is recorded; run `openarchive fsck`")]
    RowChanged { log: String, index: u64 },
    #[error("the object {key} holds other bytes than the log; run `openarchive fsck`")]
    ObjectDiffers { key: ObjectKey },
    #[error(
        "the tiles of log {log} at {size} leaves do not have the root of its rows; run `openarchive fsck`"
    )]
    RootDiffers { log: String, size: u64 },
}
