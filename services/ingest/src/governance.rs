//! What is done to mail that is archived: holds, shredding, expiry.
//!
//! Each act is decided in one transaction, by a function of the database that takes the tenant's purge lock, checks, and
//! writes the rows with the act. So a hold that is set while mail is being shredded either comes first and is obeyed, or
//! comes second and is refused. The act is a leaf before anybody is answered.

mod acts;
mod certificate;
mod expiry;
mod expiry_plan;
mod expiry_run;
mod hold_record;
mod holds;
mod quarantine;
mod shred_blobs;
mod shred_order;
mod suspension;

pub(crate) use acts::{settle, sweep};
pub(crate) use certificate::certificate;
pub(crate) use expiry::plan;
#[doc(hidden)]
pub use expiry_plan::ExpiryPlan;
pub use expiry_plan::{EXPIRY_PLAN_BYTES_MAX, EXPIRY_PLAN_MESSAGES_MAX};
pub(crate) use expiry_run::run;
pub use expiry_run::{PLAN_CHANGED, PLAN_EARLY};
pub(crate) use hold_record::{HOLD_RECORD_BYTES_MAX, HoldRecord};
pub use holds::HOLD_MESSAGES_MAX;
pub(crate) use holds::{HoldRequest, list_holds, release_hold, set_hold};
pub use quarantine::NOT_QUARANTINED;
pub(crate) use quarantine::{quarantined, release};
pub use shred_order::{SHRED_EXISTS, SHRED_MESSAGES_MAX, SHRED_TOO_LARGE};
pub(crate) use shred_order::{ShredOrder, finish, get, order};
pub(crate) use suspension::lift;

use openarchive_domain::Timestamp;
use openarchive_ledger::leaf::{AnyLeaf, stamp};
use serde_json::Value;
use tonic::Code;

use crate::failure::{Failure, FieldError};

/// The mail is held: it is neither shredded nor expired.
pub const HELD: &str = "HELD";
/// The mail is being shredded, or was.
pub const SHREDDED: &str = "SHREDDED";
/// Its class does not let it be shredded now.
pub const RETAINED: &str = "RETAINED";
/// Nothing is shredded until somebody lifts the suspension.
pub const SUSPENDED: &str = "SUSPENDED";
/// A hold of this name was set before.
pub const HOLD_EXISTS: &str = "HOLD_EXISTS";

/// Whether the ledger will take this body: asked before the act is decided, for then it must become a leaf.
fn check_leaf(body: &Value) -> Result<(), Failure> {
    let fits =
        stamp(body.clone(), Timestamp::from_millis(0)).is_ok_and(|bytes| AnyLeaf::parse(&bytes).is_ok());
    if fits {
        return Ok(());
    }
    Err(FieldError::new("request", "of names without @ and spaces, and of fewer mails at once").into())
}

/// What a function of the database said instead of doing what was asked.
fn refused(outcome: Option<&str>) -> Failure {
    let because = |reason, message: &str| Failure::refused(Code::FailedPrecondition, reason, message);
    match outcome {
        Some("unknown") => Failure::not_found("a mail of the list is not in the archive"),
        Some("shredding") => because(SHREDDED, "a mail of the list is being shredded, or was"),
        Some("held") => because(HELD, "a mail of the list is under a hold"),
        Some("suspended") => {
            because(SUSPENDED, "shredding is suspended since a rebuild until somebody lifts it")
        }
        Some("exists") => because(HOLD_EXISTS, "a hold of this name was set before: choose another"),
        Some("absent") => Failure::not_found("there is no such hold"),
        Some("released before") => because("HOLD_RELEASED", "the hold was released before"),
        Some("not suspended") => because("NOT_SUSPENDED", "shredding is not suspended"),
        _ => Failure::refused(Code::Aborted, "CHANGED", "the archive changed meanwhile: try again"),
    }
}
