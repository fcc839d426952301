//! The trust service over its gRPC interface, on a real PostgreSQL and real files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it finds the unexpected")]

mod appending;
mod archive;
mod certificates;
mod custody;
mod damage;
mod faults;
mod locks;
mod publishing;
mod rebuilding;
