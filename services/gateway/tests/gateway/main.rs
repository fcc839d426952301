//! The gateway in front of a whole archive: real PostgreSQL, trust, storage, ingest, index and worker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod connections;
mod enrolments;
mod expiry;
mod governance;
mod reads;
mod refusals;
mod replaced_index;
mod searches;
mod speed;
