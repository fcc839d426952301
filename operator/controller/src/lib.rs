//! The operator: brings a cluster to what ArchiveCores and the kinds around them say, and records each configuration that it
//! applied in the archive's own ledger.
//!
//! Architecture invariants:
//! - Only `dereference`, `apply`, `prune`, `audit`, `core` and `status_writer` see a client. `validate` turns
//!   specifications into types that cannot be wrong; `build` is pure and infallible.
//! - Server-side apply, never an update. A pass over a world that is as specified writes nothing.
//! - No sleep and no poll inside a pass: it ends and says when to come back.
//! - What a Secret holds stands in no log, error, event, status or snapshot.

mod agents;
mod apply;
mod archive;
mod client;
mod context;
pub mod core;
mod drift;
mod explain;
mod finalizer;
mod guard;
mod halt;
mod left;
mod network_policies;
mod objects;
mod policies;
mod prune;
pub mod rbac;
mod reach;
mod render;
mod run;
mod status_writer;
mod stood;
mod told;
mod watch_pause;

pub use client::{ANSWER_SECONDS_MAX, client};
pub use context::{Context, RESYNC_AFTER, RETRY_AFTER_MAX, Settings};
pub use explain::{Connection, Explained, Unexplained, explain};
pub use halt::{Halt, Reason};
pub use reach::Reach;
pub use render::render;
pub use run::{Ready, run};
