//! The words that every part of the archive shares: digests, names, sequence numbers, time.
//!
//! Architecture invariant: no I/O and no async here. The only things read from outside are the
//! system clock and the system's randomness, each in one named place.

mod class;
mod digest;
mod names;
mod policy;
pub mod random;
mod retention_date;
mod time;

pub use class::{Erasure, KeepFor, RetentionClass, StartFrom};
pub use digest::{Digest, DigestHasher};
pub use names::{AgentName, AgentRef, NAME_BYTES_MAX, PolicyName, Seat, Tenant};
pub use policy::{
    Correspondents, Direction, KEEP_FOR_DAYS_MAX, KEEP_FOR_MONTHS_MAX, KEEP_FOR_YEARS_MAX, LockBreach,
    MAIL_DOMAIN_BYTES_MAX, MAILBOX_BYTES_MAX, MailDomain, Mailbox, Policy, class_of,
};
pub use retention_date::{LOCK_EXTENSION_YEARS_MAX, LockDateError, expires_at, extendable_from, lock_until};
pub use time::{Clock, FixedClock, SystemClock, Timestamp};

/// A value that does not have the form its type demands. `Display` says what was found and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?} is not valid: {expected}")]
pub struct ParseError {
    pub what: &'static str,
    pub found: String,
    pub expected: &'static str,
}

impl ParseError {
    pub fn new(what: &'static str, found: impl Into<String>, expected: &'static str) -> Self {
        Self { what, found: found.into(), expected }
    }
}
