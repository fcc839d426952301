//! Offline verification: what a receipt proves about a message, or a shred certificate about its end, said in sentences, with nothing but the files at hand.
//!
//! Architecture invariant: no network, no database, no async, no clock; nothing inside a proof is trusted because it
//! stands there. Trust comes from the policy file that the caller brings.

mod findings;
mod report;
mod shred;

#[cfg(test)]
mod shred_tests;
#[cfg(test)]
mod tests;

pub use report::{
    EXIT_CONSISTENT_NOT_ANCHORED, EXIT_FAILED, EXIT_VERIFIED, Finding, Outcome, Proved, Report,
    SENTENCE_NOT_ANCHORED,
};
pub use shred::{SENTENCE_NOT_IDENTIFIED, SENTENCE_SHRED_NOT_ANCHORED, ShredReport};

use openarchive_domain::Digest;
use openarchive_ledger::{policy::Policy, receipt::verify_receipt, shred_certificate::verify_certificate};

/// Verifies that the message with this digest (SHA-256 over the exact bytes of its file) is the one that `proof`, a
/// C2SP tlog-proof text, is about, and that a log which `policy`, a C2SP tlog-policy text, trusts has recorded it.
///
/// Without a policy the best outcome is [`Outcome::ConsistentNotAnchored`]. A policy that cannot be read fails.
pub fn verify_message(message: Digest, proof: &str, policy: Option<&str>) -> Report {
    let policy = match policy.map(str::parse::<Policy>).transpose() {
        Ok(policy) => policy,
        Err(error) => return Report::failed(message, vec![findings::of_policy_file(&error)]),
    };
    match verify_receipt(proof, policy.as_ref(), &message) {
        Err(failures) => Report::failed(message, failures.iter().map(findings::of_failure).collect()),
        Ok(verified) if policy.is_some() => Report::verified(message, Proved::from(verified)),
        Ok(verified) => Report::not_anchored(message, Proved::from(verified)),
    }
}

/// Verifies that a log which `policy` trusts has recorded the order to shred that `certificate` shows, and the leaves of
/// the message that the order names. With `receipt`, a proof of the message that was given out before it was shredded, it
/// also verifies that one of those leaves was this message; without, that is the word of whoever made the file.
///
/// Without a policy, or without a receipt, the best outcome is [`Outcome::ConsistentNotAnchored`]. A policy that cannot
/// be read fails.
pub fn verify_shred(certificate: &str, policy: Option<&str>, receipt: Option<&str>) -> ShredReport {
    let policy = match policy.map(str::parse::<Policy>).transpose() {
        Ok(policy) => policy,
        Err(error) => return ShredReport::failed(vec![findings::of_policy_file(&error)]),
    };
    match verify_certificate(certificate, policy.as_ref(), receipt) {
        Err(failures) => ShredReport::failed(failures.iter().map(findings::of_certificate).collect()),
        Ok(verified) => match findings::of_what_was_not_given(policy.as_ref(), verified.identified) {
            missing if missing.is_empty() => ShredReport::verified(verified),
            missing => ShredReport::not_anchored(missing, verified),
        },
    }
}
