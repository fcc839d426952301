//! The operator against a real API server with its real controllers. Pods do not run: `NodeStandIn` says what a kubelet would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod core;
mod definitions;
mod support;
