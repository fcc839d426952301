//! How content is encrypted at rest, and the two formats that hold it: packs and key files.
//!
//! - [`BlobSealer`], [`BlobOpener`] and their whole-body forms: C2SP chunked encryption (Cobblestone-256) around a
//!   small plaintext frame. Plaintext leaves only after the chunk it stands in was verified.
//! - [`Kek`] protects [`WrappingKey`]s, a [`WrappingKey`] wraps [`Dek`]s: AES-256-KWP (RFC 5649) both times.
//! - [`pack`] and [`key_file`]: strict encodings with limits.
//!
//! Architecture invariant: no I/O, no clock, no randomness. Keys and salts come in as arguments.

mod blob_frame;
mod blob_open;
mod blob_seal;
mod chunked;
mod context;
pub mod key_file;
mod keys;
mod known_answer;
pub mod pack;

pub use blob_frame::{BLOB_FRAME_BYTES, Codec};
pub use blob_open::{BlobOpener, OpenError, open_blob};
pub use blob_seal::{BlobSealer, SealError, Sealer, seal_blob};
pub use chunked::{CHUNK_BYTES, HEADER_BYTES, SALT_BYTES, Salt, TAG_BYTES, sealed_length};
pub use context::{BlobContext, BlobKind, BlobScope, UnknownKindCode};
pub use keys::{Dek, KEY_BYTES, Kek, UnwrapError, WRAPPED_KEY_BYTES, WrappedKey, WrappingKey};
pub use known_answer::{KnownAnswerError, known_answer_test};
