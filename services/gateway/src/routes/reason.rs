use crate::problem::Problem;

/// Longest reason of an act, in bytes. It stands in the audit record, and in the record of a hold.
pub const REASON_BYTES_MAX: usize = 2_000;

/// Nobody holds, releases or shreds without saying why.
pub(super) fn check_reason(reason: &str) -> Result<(), Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::invalid("reason must say why, for people"));
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(Problem::invalid(format!("the reason is longer than {REASON_BYTES_MAX} bytes")));
    }
    if reason.contains('\0') {
        return Err(Problem::invalid("the reason must be text without NUL"));
    }
    Ok(())
}
