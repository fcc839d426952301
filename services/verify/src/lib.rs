//! Offline verification: what a receipt proves about a message, said in sentences, with nothing but the files at hand.
//!
//! Architecture invariant: no network, no database, no async, no clock; nothing inside a proof is trusted because it
//! stands there. Trust comes from the policy file that the caller brings.

mod findings;
mod report;

#[cfg(test)]
mod tests;

pub use report::{
    EXIT_CONSISTENT_NOT_ANCHORED, EXIT_FAILED, EXIT_VERIFIED, Finding, Outcome, Proved, Report,
    SENTENCE_NOT_ANCHORED,
};

use openarchive_domain::Digest;
use openarchive_ledger::{policy::Policy, receipt::verify_receipt};

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
