//! What every gRPC service and caller shares.

mod errors;
mod in_process;

pub use errors::{has_reason, refusal};
pub use in_process::in_process;

/// Largest gRPC message, both ways, in bytes: a full index batch (32 MiB) with its framing. Longer content is streamed.
pub const RPC_MESSAGE_BYTES_MAX: usize = 34 * 1024 * 1024;

/// Largest piece of a streamed body, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
