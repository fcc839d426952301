use std::sync::Arc;

use openarchive_ledger::leaf::LeafError;

use crate::{heads::HeadError, log_rows::RowDamage, publisher::WAY_BACK};

/// Why a log takes no leaves until a person has acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogRefusal {
    #[error(
        "log {log} was set back: its checkpoint of {signed} leaves is about to be or was signed, but the database holds {rows}, as after an older backup was restored; {WAY_BACK}"
    )]
    Rewound { log: String, signed: u64, rows: u64 },
    #[error("log {log} belongs to another signing key; restore the archive's keys")]
    ForeignKey { log: String },
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

/// Why entries were not appended. After [`AppendError::Database`] and [`AppendError::Stopped`] they may have been:
/// the same keys again give the answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("nothing is appended at the moment: {why}")]
    Stopped { why: String },
    #[error(
        "nothing is appended while this machine's clock is {seconds} s off the database's: set the clocks right"
    )]
    ClocksDiffer { seconds: i64 },
    #[error("the log's latest leaf is not {expected}: it has grown")]
    PreviousMoved { expected: u64 },
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error(transparent)]
    Refused(#[from] LogRefusal),
    #[error("the log's heads cannot be read")]
    Heads(#[source] Arc<HeadError>),
    #[error("another sequencer appended to this log")]
    Fenced,
    #[error("the database cannot be used")]
    Database(#[source] Arc<sqlx::Error>),
}

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<HeadError> for AppendError {
    fn from(error: HeadError) -> Self {
        Self::Heads(Arc::new(error))
    }
}
