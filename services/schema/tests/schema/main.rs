//! The schema on a real PostgreSQL: versions and upgrades, what each login role may do, tenants kept apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod isolation;
mod owner;
mod passwords;
mod statements;
mod transactions;
mod upgrade;
mod versions;
