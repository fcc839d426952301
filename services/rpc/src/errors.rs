use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of every `ErrorInfo` (google.rpc, AIP-193).
const ERROR_DOMAIN: &str = "openarchive.dev";

/// A refusal that a program can branch on: `reason` in UPPER_SNAKE_CASE stands in its ErrorInfo. `message` is for
/// people and carries no personal data.
pub fn refusal(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// Whether `status` was refused for `reason`.
pub fn has_reason(status: &Status, reason: &str) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_the_status() {
        let status = refusal(Code::Aborted, "PREVIOUS_MOVED", "the log has grown");
        assert!(has_reason(&status, "PREVIOUS_MOVED"));
        assert!(!has_reason(&status, "OTHER"));
        assert!(!has_reason(&Status::internal("x"), "PREVIOUS_MOVED"));
    }
}
