//! One map from what goes wrong to gRPC codes and reasons. The caller's message says what to do; causes that only the
//! operator can act on are logged here, once.

use std::time::Duration;

use openarchive_envelope::UnwrapError;
use openarchive_ledger::leaf::LeafError;
use openarchive_rpc::refusal;
use tonic::{Code, Status};

use crate::{
    custody::CustodyError, log_rows::RowsError, log_state::LogName, proofs::ProveError,
    sequencer::AppendError,
};

pub(super) fn invalid(message: impl Into<String>) -> Status {
    refusal(Code::InvalidArgument, "INVALID", message)
}

pub(super) fn leaf_too_long(error: LeafError) -> Status {
    let reason = if matches!(error, LeafError::TooLong { .. }) { "LEAF_TOO_LONG" } else { "INVALID" };
    refusal(Code::InvalidArgument, reason, error.to_string())
}

pub(super) fn append(error: &AppendError) -> Status {
    let message = error.to_string();
    match error {
        AppendError::Stopped { .. } => refusal(Code::Unavailable, "SEQUENCER_STOPPED", message),
        AppendError::ClocksDiffer { .. } => refusal(Code::Unavailable, "CLOCKS_DIFFER", message),
        AppendError::PreviousMoved { .. } => refusal(Code::Aborted, "PREVIOUS_MOVED", message),
        AppendError::Leaf(error) => leaf_too_long(*error),
        AppendError::Refused(_) => refusal(Code::FailedPrecondition, "LOG_REFUSED", message),
        AppendError::Fenced => refusal(Code::Unavailable, "FENCED", message),
        AppendError::Heads(source) => {
            tracing::error!(error = %source, "cannot open a log for appending");
            refusal(Code::Unavailable, "OBJECTS_UNAVAILABLE", message)
        }
        AppendError::Database(source) => database(source),
    }
}

pub(super) fn database(error: &sqlx::Error) -> Status {
    tracing::error!(%error, "the ledger's database fails");
    refusal(Code::Unavailable, "DATABASE_UNAVAILABLE", "the ledger's database cannot be used")
}

pub(super) fn rows(error: &RowsError) -> Status {
    match error {
        RowsError::Database(error) => database(error),
        RowsError::Damage(damage) => {
            tracing::error!(%damage, "the ledger is damaged");
            refusal(Code::DataLoss, "LEDGER_DAMAGED", damage.to_string())
        }
    }
}

pub(super) fn prove(error: &ProveError) -> Status {
    match error {
        ProveError::Tree(error) => refusal(Code::OutOfRange, "NO_SUCH_PROOF", error.to_string()),
        ProveError::Rows(error) => rows(error),
    }
}

pub(super) fn custody(error: &CustodyError) -> Status {
    let message = error.to_string();
    match error {
        CustodyError::Unknown { .. } => refusal(Code::NotFound, "NO_WRAPPING_KEY", message),
        CustodyError::Database(error) => database(error),
        CustodyError::Objects(error) => {
            tracing::error!(%error, "a wrapping key cannot be made");
            refusal(Code::Unavailable, "OBJECTS_UNAVAILABLE", message)
        }
        CustodyError::Foreign { .. } | CustodyError::Differs { .. } | CustodyError::Malformed { .. } => {
            tracing::error!(%error, "a wrapping key cannot be used");
            refusal(Code::FailedPrecondition, "WRAPPING_KEY_REFUSED", message)
        }
    }
}

pub(super) fn unwrap(position: usize, error: UnwrapError) -> Status {
    refusal(Code::DataLoss, "KEY_DOES_NOT_OPEN", format!("key {position} of the call: {error}"))
}

pub(super) fn index_beyond_log(log: &LogName, index: u64, size: u64) -> Status {
    let message = format!("log {log} has {size} leaves, {index} is not among them");
    refusal(Code::OutOfRange, "INDEX_BEYOND_LOG", message)
}

pub(super) fn size_beyond_checkpoint(log: &LogName, size: u64, published: u64) -> Status {
    let message = format!("the latest checkpoint of log {log} covers {published} leaves, not {size}");
    refusal(Code::OutOfRange, "SIZE_BEYOND_CHECKPOINT", message)
}

pub(super) fn no_checkpoint_in_time(log: &LogName, failure: Option<String>) -> Status {
    let why = failure.unwrap_or_else(|| "none was published in time".to_owned());
    refusal(Code::DeadlineExceeded, "NO_CHECKPOINT_IN_TIME", format!("no checkpoint of log {log}: {why}"))
}

pub(super) fn checkpoints_stalled(log: &LogName, age: Duration) -> Status {
    let message = format!(
        "the oldest leaf of log {log} has waited {} s for a checkpoint: nothing is added until it has one",
        age.as_secs()
    );
    refusal(Code::Unavailable, "CHECKPOINTS_STALLED", message)
}

pub(super) fn shutting_down() -> Status {
    refusal(Code::Unavailable, "SEQUENCER_STOPPED", "the trust service is shutting down")
}
