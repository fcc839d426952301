//! Runs the archive's programs as processes, for tests. The binaries are those of this workspace's target folder:
//! `cargo build --workspace` makes them (`make test` does).

mod agent;
mod archive;
mod cluster;
mod deadline;
mod network;
mod pki;
mod prober;
mod programs;
mod skip;

pub use agent::{Agent, AgentOptions, PeerMode};
pub use archive::{Archive, Ctl};
pub use cluster::{Cluster, http_get};
pub use deadline::eventually;
pub use network::Network;
pub use openarchive_testkit::ports::free_port;
pub use pki::Pki;
pub use prober::{Prober, common_port};
pub use programs::program;
pub use skip::skip;
