//! NetworkPolicySet: the policies of one archive, and the status that an auditor reads.
//!
//! guard -> dereference -> validate -> build -> apply -> prune -> ask the probers -> status

mod ask;
mod reconcile;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use reconcile::{database_url, reconcile};
pub(crate) use status::waits_for;
