//! What both command lines need.

pub mod manifests;
