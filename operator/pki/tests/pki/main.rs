//! What is issued, when, and whether everybody lets everybody in at every moment.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it finds the unexpected")]

mod agents;
mod bad_input;
mod external;
mod handshake;
mod renewal;
mod rotation;
mod verifier;
mod world;
