//! The archive as processes, from SMTP to proof. Every test has its own data folder, database and ports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod audit;
mod crash;
mod first_day;
mod gateway_killed;
mod governance;
mod import;
mod jobs;
mod journal;
mod offline_day;
mod older_backup;
mod postfix;
mod prober;
mod real_mail;
mod rebuild;
mod search;
mod separate;
#[path = "../../../services/telemetry/tests/telemetry/sink.rs"]
mod sink;
mod standalone;
mod support_bundle;
mod telemetry;
mod tenants;
