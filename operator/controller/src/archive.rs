//! ArchiveCore: one pass from what is specified to what is recorded.
//!
//! guard -> dereference -> validate -> certificates -> build -> gate -> apply -> prune -> observe -> audit -> status

mod audit;
pub(crate) mod build;
mod certificates;
mod dereference;
mod gate;
mod reconcile;
mod status;
mod validate;

#[cfg(test)]
mod tests;

pub(crate) use reconcile::reconcile;
pub(crate) use validate::{ValidArchive, validate};
