//! Why a call could not be answered, and the one map from that to gRPC codes.

use openarchive_rpc::refusal;
use openarchive_schema::TransactionError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::error;

/// A field of a request that is not what it must be. Names the field, shows none of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct FieldError {
    /// Path within the request, like `items[3].offer.parts[0].digest`.
    pub field: String,
    pub expected: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into() }
    }
}

/// Why a call, a rebuild or a check has no answer. It may be repeated as it is unless the request itself is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Said to the caller as it stands.
    #[error("{message}")]
    Refused { code: Code, reason: &'static str, message: String },
    #[error("the catalogue's database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the catalogue's database does not take the change")]
    Transaction(#[from] TransactionError),
    #[error("{service} does not do its part")]
    Upstream { service: &'static str, status: Box<Status> },
    /// Stored content, rows and leaves do not agree with each other: a person must look.
    #[error("{0}")]
    Damaged(String),
    #[error("a task of this service ended before its work was done")]
    Task,
}

impl Failure {
    pub(crate) fn refused(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, reason, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::refused(Code::NotFound, "NOT_FOUND", message)
    }

    pub(crate) fn upstream(service: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Upstream { service, status: Box::new(status) }
    }
}

/// Logs what a caller cannot act on, once, here.
impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Field(field) => {
                let details = ErrorDetails::with_bad_request_violation(&field.field, &field.expected);
                Self::with_error_details(Code::InvalidArgument, field.to_string(), details)
            }
            Failure::Refused { code, reason, message } => refusal(*code, reason, message),
            Failure::Database(source) => {
                error!(error = %source, "the catalogue's database does not answer");
                refusal(Code::Unavailable, "DATABASE", failure.to_string())
            }
            Failure::Transaction(error) => {
                error!(%error, cause = %error.source, "a transaction of the catalogue does not commit");
                refusal(Code::Unavailable, "DATABASE", failure.to_string())
            }
            Failure::Upstream { service, status } => forward(service, status),
            Failure::Damaged(what) => {
                error!(%what, "the archive contradicts itself");
                refusal(Code::DataLoss, "DAMAGED", what)
            }
            Failure::Task => refusal(Code::Internal, "TASK_ENDED", failure.to_string()),
        }
    }
}

/// Another service's refusal, without that service's headers. Its fault is not the caller's, except where the code
/// says that waiting helps.
fn forward(service: &'static str, status: &Status) -> Status {
    let code = match status.code() {
        code @ (Code::Unavailable
        | Code::ResourceExhausted
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::DataLoss) => code,
        _ => Code::Internal,
    };
    error!(service, code = ?status.code(), message = status.message(), "a service refuses the catalogue's call");
    refusal(code, "UPSTREAM", format!("{service}: {}", status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_is_named_in_text_and_details() {
        let status = Status::from(Failure::from(FieldError::new("offer.seq", "from 1 on")));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "offer.seq must be from 1 on"));
        let details = status.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, "offer.seq");
    }

    #[test]
    fn a_code_of_another_service_is_passed_on_only_where_waiting_helps_or_content_is_lost() {
        let check = |code, expected| {
            let failure = Failure::upstream("storage")(Status::new(code, "why"));
            let status = Status::from(failure);
            assert_eq!((status.code(), status.message()), (expected, "storage: why"));
        };
        check(Code::Unavailable, Code::Unavailable);
        check(Code::ResourceExhausted, Code::ResourceExhausted);
        check(Code::DataLoss, Code::DataLoss);
        check(Code::InvalidArgument, Code::Internal);
        check(Code::PermissionDenied, Code::Internal);
    }
}
