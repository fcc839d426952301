//! Policies as they are built, held against the service graph, against committed files, and against what people ask.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod building;
mod explaining;
mod golden;
mod graph;
mod operator;
mod oracle;
mod world;
