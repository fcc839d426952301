//! The append-only ledger, its checkpoints, and key custody.
//!
//! - `sequencer`: the one writer; groups of leaves, each group one statement and one commit.
//! - `publisher`: tiles, heads and signed checkpoints into the object store, from durable rows only.
//! - `agents_ca`: agents' certificates.
//! - `custody`: wrapping keys, protected by the archive's KEK.
//! - [`rebuild`], [`fsck`]: the way back from the objects, and the proof that rows and objects agree.
//!
//! Architecture invariants: trust calls no other service. What it acknowledged is durable in PostgreSQL; what a
//! published checkpoint covers also stands in the object store, from which an empty database is rebuilt. Leaves between
//! the two are lost with the database: their authors keep them in outboxes until a receipt covers them, and replay them
//! under the same idempotency keys.

mod agents_ca;
mod custody;
mod finding;
mod frontier;
pub mod fsck;
mod heads;
mod health;
mod keys;
pub mod leaf_key;
mod locks;
mod log_objects;
mod log_rows;
mod log_state;
mod proofs;
mod publisher;
pub mod rebuild;
mod sequencer;
mod server;
mod shared;
mod trust;

#[doc(hidden)]
pub use agents_ca::certified_key;
pub use agents_ca::{
    AGENT_CERTIFICATE_DAYS_MAX, AgentsCa, AgentsCaError, CSR_BYTES_MAX, CsrError, RSA_BITS_MIN,
};
pub use custody::{CustodyError, KEK_VERSION};
pub use finding::{Finding, FindingCode, Progress};
pub use health::{Health, LogHealth, TrustHealth};
pub use keys::{KEK_FILE, Keys, KeysError, LOG_SEED_FILE, is_exposed};
pub use log_rows::RowDamage;
pub use log_state::LogName;
pub use sequencer::sequencer_lock_key;
pub use server::{
    KEYS_PER_CALL_MAX, LEAF_BYTES_PER_CALL_MAX, LEAVES_PER_CALL_MAX, PROOFS_PER_CALL_MAX, TrustServer,
};
pub use shared::CLOCK_DIFFERENCE_MAX;
pub use trust::{CheckpointIntervals, StartError, Trust, TrustConfig, check_logs, check_name, policy_for};

/// Epoch of a log that was never rolled over.
pub const FIRST_LOG_EPOCH: u64 = 1;
