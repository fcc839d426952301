//! NetworkPolicySet: the policies of one archive, and the status that an auditor reads.
//!
//! guard -> dereference -> validate -> build -> apply -> prune -> status

mod reconcile;
mod status;

pub(crate) use reconcile::reconcile;
