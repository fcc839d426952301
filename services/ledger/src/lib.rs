//! The ledger's formats: RFC 6962 trees, C2SP tiles, signed notes, checkpoints, proofs, policies, leaves, receipts.
//!
//! Architecture invariant: sans-IO. No files, no network, no clock, no randomness, no async: bytes and hashes come in
//! as arguments, bytes and hashes go out. Whoever stores, fetches or signs with hardware does it outside.

pub mod agent_check;
mod base64_text;
pub mod checkpoint;
pub mod commitment;
pub mod cosignature;
pub mod jcs;
pub mod leaf;
pub mod leaf_proof;
pub mod note;
pub mod origin;
pub mod policy;
pub mod proof;
pub mod receipt;
pub mod shred_certificate;
pub mod tiles;
pub mod tree;

pub use tree::Hash;

#[cfg(test)]
mod fixtures;
