//! Full text: the query language, the analyser and the embedded engine.
//!
//! Architecture invariants: the analyser and the query language are pure functions that know no engine, so that a
//! second engine gives the same answers; the index keeps no mail (no body, no subject), only what is needed to
//! find it; everything in it can be made again from the archive.

pub mod analyser;
mod document;
pub mod engine;
pub mod highlight;
pub mod query;
pub mod scan;
mod service;

pub use document::{
    ADDRESSES_MAX, AGENTS_MAX, ATTACHMENT_NAME_BYTES_MAX, ATTACHMENT_NAMES_MAX, Address, BODY_BYTES_MAX,
    DOCUMENT_BYTES_MAX, Document, NAME_BYTES_MAX, SUBJECT_BYTES_MAX, TooLarge,
};
pub use service::{BATCH_DELETIONS_MAX, BATCH_DOCUMENTS_MAX, IndexServer, PAGE_HITS_DEFAULT};
