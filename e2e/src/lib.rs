//! Runs the archive's programs as processes, for tests. The binaries are those of this workspace's target folder:
//! `cargo build --workspace` makes them (`make test` does).

mod agent;
mod archive;
mod deadline;
mod programs;
mod skip;

pub use agent::{Agent, AgentOptions, PeerMode};
pub use archive::{Archive, Ctl};
pub use deadline::eventually;
pub use programs::program;
pub use skip::skip;
