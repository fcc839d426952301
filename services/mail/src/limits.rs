//! Every bound on a message, its structure and its skeleton, in one place.

/// Longest message the archive keeps, in bytes. Callers refuse a longer one before they split it.
pub const MESSAGE_BYTES_MAX: u64 = 150 * 1024 * 1024;

/// Containers (multipart or message) that may be open around an entity.
pub const DEPTH_MAX: usize = 64;

/// MIME entities of a message that are looked at, the message itself among them.
pub const PARTS_MAX: usize = 10_000;

/// Longest header block of one entity, in bytes, without the empty line that ends it.
pub const HEADER_BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Part references in one skeleton.
pub const REFERENCES_MAX: usize = 10_000;

/// Bodies from this many decoded bytes on are taken out.
pub const PART_BYTES_MIN: usize = 1024;

/// A verbatim run of this many bytes or more becomes an identity part.
pub const VERBATIM_RUN_BYTES: usize = 1024 * 1024;

/// Verbatim bytes one skeleton keeps before runs become identity parts from [`PART_BYTES_MIN`] on.
pub const SKELETON_VERBATIM_BYTES: usize = 4 * 1024 * 1024;

/// Longest encoded skeleton, in bytes. The splitter stays below it for any message.
pub const SKELETON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes that may follow the base64 text of a part within its recipe (the format counts them in 16 bits).
pub const TRAILING_BYTES_MAX: usize = u16::MAX as usize;

/// Longest line of a base64 part that a recipe can name; a longer first line counts as the only one.
pub const LINE_CHARACTERS_MAX: usize = u16::MAX as usize;

/// Decoded bytes handed to the sink at a time. A multiple of 3, and so large that a first line which is not
/// over by then is longer than [`LINE_CHARACTERS_MAX`]: the line length is known before the first block leaves.
pub(crate) const BLOCK_BYTES: usize = 48 * 1024;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(3) && BLOCK_BYTES / 3 * 4 > LINE_CHARACTERS_MAX);
// 49 bytes a reference, 5 a verbatim segment, 17 of head; see SKELETON_VERBATIM_BYTES for the verbatim bytes.
const _: () = assert!(
    17 + SKELETON_VERBATIM_BYTES
        + VERBATIM_RUN_BYTES
        + TRAILING_BYTES_MAX
        + (REFERENCES_MAX + 1) * (PART_BYTES_MIN + 5 + 49)
        < SKELETON_BYTES_MAX
);
