//! Storage over the real trust service, PostgreSQL and local objects.

#![expect(clippy::unwrap_used, reason = "a test may stop where it finds the unexpected")]

mod archive;
mod damage;
mod deduplication;
mod faults;
mod keeping;
mod large;
mod limits;
mod rebuild;
mod round_trip;
mod shredding;
