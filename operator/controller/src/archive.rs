//! ArchiveCore: one pass from what is specified to what is recorded.
//!
//! guard -> dereference -> validate -> certificates -> build -> gate -> apply -> prune -> observe -> audit -> status

mod audit;
pub(crate) mod build;
mod certificates;
mod dereference;
mod dial;
mod farewell;
pub(crate) mod gate;
mod given_secrets;
mod reconcile;
mod status;
mod validate;

#[cfg(test)]
mod tests;

pub(crate) use certificates::{leaf_of, operator_secret, secret_data};
pub(crate) use dereference::ANNOTATION_AGENTS_CA;
pub(crate) use dial::{core_addresses, dial, ingest_address};
pub(crate) use reconcile::{forget, reconcile};
pub(crate) use validate::{ValidArchive, one_set, validate};
