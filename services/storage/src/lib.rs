//! Encrypted packs, key files, deduplication, fixity (evidence.md sections 2 and 3). Knows blobs, not messages.
//!
//! - Writing: `put_blobs` (one call) -> `sealing`, `large_upload` -> `open_packs` (grouping) -> `pack_flush` (the
//!   durability order) -> `outbox` (pack leaves to the ledger).
//! - Reading: `get_blob`.
//! - Keeping longer: `lock_extension`.
//! - Destroying keys: `shred`; pack objects in which nothing is left: `shred_deletion`.
//! - Checking: `pack_check` with `pack_scan`, `ledger_check`, [`fsck`]; [`rebuild`] makes the catalogue anew.
//!
//! Architecture invariants: plaintext is never written to a disk. A blob is catalogued only if its raw bytes had their
//! digest and its pack and key file are durable. Storage asks trust, trust never asks storage.

mod blob_id;
mod callers;
mod catalogue;
mod error;
mod finding;
mod fsck;
mod get_blob;
mod key_custody;
mod large_upload;
mod ledger_check;
mod lock_extension;
mod object_names;
mod open_packs;
mod outbox;
mod pack_check;
mod pack_flush;
mod pack_object;
mod pack_scan;
mod progress;
mod put_blobs;
mod rebuild;
mod refusals;
mod requests;
mod sealing;
mod service;
mod shred;
mod shred_deletion;
mod spool;
mod storage;

pub use error::StorageError;
pub use finding::{Finding, Problem, Subject};
pub use fsck::fsck;
pub use open_packs::{PACK_BLOBS_MAX, PACK_BYTES_TARGET};
pub use progress::Progress;
pub use put_blobs::BLOBS_PER_CALL_MAX;
pub use rebuild::{RebuildReport, rebuild};
pub use refusals::{
    BLOB_ABSENT, BLOB_DAMAGED, BLOB_SHREDDED, DIGEST_MISMATCH, INVALID_REQUEST, LENGTH_MISMATCH,
    STORAGE_UNAVAILABLE,
};
pub use requests::{BLOB_BYTES_MAX, LIST_PACKS_MAX, STAT_BLOBS_MAX};
pub use service::StorageServer;
pub use shred::{SHRED_LOCKED, SHRED_NOT_ORDERED};
pub use storage::{LINGER_DEFAULT, Storage, StorageConfig, StorageParts};
