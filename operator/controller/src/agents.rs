//! EdgeAgent: one pass from what is specified to an agent that runs, or to the bundle with which one elsewhere begins.
//!
//! guard -> dereference -> validate -> bundle -> build -> gate -> apply -> prune -> observe -> status
//!
//! Architecture invariant: an agent's key is made where the agent runs and never leaves it. What the operator hands over is
//! a token that lets one agent in, once.

mod apply;
mod build;
mod bundle;
mod core;
mod dereference;
mod missing;
mod reconcile;
mod removal;
mod render;
mod status;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use build::listener_certificate;
pub(crate) use missing::forget;
pub(crate) use reconcile::reconcile;
pub(crate) use render::render;
