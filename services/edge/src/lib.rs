//! The agent beside a mail server: SMTP in, durable buffer, sync, prune after proof.
//!
//! Life of a mail here: [`smtp`] reads it into a [`spool`]; [`accept`] takes it apart and proves that it joins again;
//! [`buffer`] makes it durable; then, and not before, the mail server is told `250`.
//!
//! Architecture invariant: a mail leaves the buffer only when the archive has proved to have it. Nothing here trusts the
//! core, and nothing after `250` can refuse a mail.

pub mod accept;
pub mod agent;
pub mod buffer;
pub mod config;
pub mod content;
pub mod enrol;
pub mod import;
pub mod smtp;
pub mod spool;
pub mod status;
pub mod sync;
