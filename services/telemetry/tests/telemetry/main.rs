//! Traces to a real collector's door, logs as they are written, health over a socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod captured;
mod logs;
mod sink;
mod traces;
