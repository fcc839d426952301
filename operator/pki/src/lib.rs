//! The certificates of one archive: its authority, a leaf for each service, the intermediate with which trust signs agents'
//! certificates, their renewal, and the exchange of the authority in three steps without a failed call.
//!
//! ```text
//! what is stored ──▶ [`AuthorityState`], [`Found`] ──▶ [`plan()`] ──▶ [`Action`]s ──▶ [`carry_out()`] ──▶ what to store
//! ```
//!
//! Architecture invariant: no client, no clock, no async. What a Secret holds comes in and goes out as bytes; time and the
//! randomness of serial numbers are arguments (keys are made by the cryptographic library alone). Nothing is kept between two
//! calls: an operator that dies anywhere goes on from what is stored. A change of the authority's own Secret is planned
//! alone, and must be stored, with the resource version that was read, before anything is planned from it.

mod agents_ca;
mod authority;
mod carry_out;
mod certificate;
mod external;
mod issue;
mod leaf;
mod pair;
mod plan;
mod state;
mod transition;

use std::collections::BTreeMap;

pub use agents_ca::{AGENT_CERTIFICATE_DAYS_MAX, AGENTS_CA_YEARS};
pub use authority::{Authority, AuthorityError, CA_YEARS};
pub use carry_out::{Written, carry_out};
pub use certificate::{Certificate, CertificateError, CertificateReport, report};
pub use external::{BundleError, ENROLMENT_TOKEN_BYTES_MAX, ExternalAgent, external_bundle};
pub use issue::{BACKDATED_SECONDS, IssueError, Random, TrustDomain};
pub use leaf::{DNS_NAMES_MAX, Identity, LEAF_DAYS, LeafSpec, SpecError};
pub use pair::Why;
pub use plan::{Action, Agents, Found, Plan, Target, Waiting, Wanted, plan};
pub use state::{AuthorityState, Phase, StateError};
pub use transition::{Cause, SECRETS_LOADED_SECONDS_MIN, Transition};

/// `data` of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// In a Secret of a leaf or of the agents' intermediate: the certificate first, then those above it.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// Beside [`TLS_CERTIFICATE`]: its key, PKCS#8.
pub const TLS_KEY: &str = "tls.key";
/// In a leaf's Secret: every authority to be believed. In the authority's own: its certificate.
pub const CA_CERTIFICATE: &str = "ca.crt";
