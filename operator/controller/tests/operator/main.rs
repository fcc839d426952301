//! The operator against a real API server with its real controllers. Pods do not run: `NodeStandIn` says what a kubelet would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod archives;
mod certificates;
mod cluster_wide;
mod core;
mod definitions;
mod faults;
mod given_secrets;
mod kstatus;
mod life;
mod modes;
mod pod;
mod prober;
mod reviewed;
mod rights;
mod rollout;
mod support;
mod two_operators;
mod unreadable;
mod webhooks;
