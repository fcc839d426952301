//! Splits mail into skeleton and parts, joins it byte for byte, reads it for the index.
//!
//! Architecture invariant: sans-IO. Bytes are pushed in and come out; nothing here opens a file or a socket, reads
//! a clock, or refuses a message for its structure.

mod base64;
mod join;
pub mod journal;
pub mod limits;
pub mod mbox;
mod recipe;
mod skeleton;
mod split;
pub mod text;

pub use join::{JoinError, PartEncoder, join_in_memory};
pub use limits::{MESSAGE_BYTES_MAX, SKELETON_BYTES_MAX};
pub use recipe::{Base64Recipe, LineEnd, PartRef, Recipe, RecipeError};
pub use skeleton::{Segment, Skeleton, SkeletonError};
pub use split::{Flags, PartSink, Split, Splitter, split_in_memory};
pub use text::{Address, Extracted, extract};
