//! `kubectl archive` against a real API server, with a real operator and a real archive where it needs them, and offline.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod bundle;
mod export;
mod help;
mod history;
mod kubelet;
mod netpol;
mod plugin;
mod rights;
