//! What the benchmarks share: mail to measure with, ways to send it, what processes used, how runs are compared.
//!
//! Every figure is a ratio against a peer that ran on the same machine in the same minutes, or stands beside what it was
//! measured on (`bench/RESULTS.md`). None counts if a mail was lost or came out different: [`gate`].

pub mod archive;
pub mod corpus;
pub mod edge;
pub mod gate;
pub mod machine;
pub mod postfix;
pub mod processes;
pub mod results;
pub mod runs;
pub mod sender;
