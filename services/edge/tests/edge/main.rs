//! The agent over real sockets, in this process and as the real program.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod agent;
mod binary;
mod certificate;
mod chunking;
mod client;
mod disk_syncs;
mod journal;
mod kill;
mod limits;
mod memory;
mod protocol;
